"""What a table is: its columns, their types, its key."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

S, F, I, B = pa.string(), pa.float64(), pa.int64(), pa.bool_()  # noqa: E741 - one letter a type keeps the schemas readable


@dataclass(frozen=True)
class TableSpec:
    """Schema of one table.

    Attributes:
        name: File stem, e.g. `gold` for `gold.parquet`.
        key: Columns that identify a row; no nulls, no duplicates.
        columns: Name to Arrow type, in file order.
        nullable: Columns that may hold nulls; every other column may not.
        extra_strings: Whether further nullable string columns (a task's own subgroup variables) are allowed.
        sort: Whether rows are sorted by key on write; False where row order is part of the content.
    """

    name: str
    key: tuple[str, ...]
    columns: dict[str, pa.DataType]
    nullable: tuple[str, ...] = ()
    extra_strings: bool = False
    sort: bool = True

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self.columns.items()))


SUBGROUP_COLUMNS = ("sex", "age_band", "race_ethnicity", "stage")
SUBGROUPS: dict[str, pa.DataType] = dict.fromkeys(SUBGROUP_COLUMNS, S)
