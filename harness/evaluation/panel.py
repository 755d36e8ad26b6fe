"""The held-out sentences of one split as arrays, and the slices of them that are looked at.

Sentences are sorted by id and patients numbered as they come, so that neither the order of rows nor the names of
patients can move a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError, nearest
from harness.evaluation.kinds import KINDS, Labels, Looking
from harness.metrics.counts import Codes, Floats
from harness.metrics.utility import Kind
from harness.schemas.tables import GOLD, SUBGROUP_COLUMNS

OVERALL = "overall"
ALL_LEVELS = "all"


@dataclass(frozen=True)
class Slice:
    """The sentences of one subgroup level, or all of them.

    Attributes:
        variable: A subgroup variable, or `overall`.
        level: A level of it, or `all`.
        rows: Places of the sentences in the panel.
        patients: Patients that have such sentences, ascending; columns of the panel's multiplicities.
        patient: Patient of each sentence as a place in `patients`.
    """

    variable: str
    level: str
    rows: Codes
    patients: Codes
    patient: Codes

    @classmethod
    def of(cls, variable: str, level: str, *, rows: Codes, patient: Codes) -> Self:
        patients, local = np.unique(patient[rows], return_inverse=True)
        return cls(variable, level, rows, patients, local)


@dataclass(frozen=True)
class Panel:
    """The sentences of one split.

    Attributes:
        label_ids: Labels of the task; a class is a place in here.
        split: `validation` or `test`.
        sentence_ids: Sorted.
        truth: True class of each sentence; where sentences have several labels, which ones (`kinds.py`).
        patient: Patient of each sentence, 0 to n_patients - 1.
        n_patients: Patients of the split.
        slices: Overall first, then every level of every variable.
        kind: Whether sentences have one label or several.
    """

    label_ids: tuple[str, ...]
    split: str
    sentence_ids: tuple[str, ...]
    truth: Labels
    patient: Codes
    n_patients: int
    slices: tuple[Slice, ...]
    kind: Kind = "single"

    @property
    def looking(self) -> Looking:
        """How answers are compared with the truth."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class MixRuns:
    """What all train seeds of one mix and learner said about the sentences of one panel.

    Attributes:
        mix: Name of the mix.
        learner: llm, tfidf, minilm or majority.
        predicted: Class per train seed and sentence, shape (n_seeds, n_sentences); or which labels (`kinds.py`).
        probability: Shape (n_seeds, n_sentences, n_classes).
        scaled: The same after the temperature that validation chose; None where there is none to use.
    """

    mix: str
    learner: str
    predicted: Labels
    probability: Floats
    scaled: Floats | None = None


def build_panel(
    gold: pa.Table, split: str, *, label_ids: Sequence[str], levels: Mapping[str, Sequence[str]], kind: Kind = "single"
) -> Panel:
    """Take one split of the gold table.

    Args:
        gold: GOLD rows.
        split: The split to take; it may be empty.
        label_ids: Labels of the task.
        levels: Subgroup variable to its levels, in the order of reports; a level nobody has gets an empty slice.
        kind: Whether `label` holds a label or the id of a set of them.
    """
    rows = gold.filter(pc.equal(gold["split"], split)).sort_by("sentence_id")
    truth = KINDS[kind].truth_of(rows["label"], label_ids)
    patient = rows["patient_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.intp)
    slices = [Slice.of(OVERALL, ALL_LEVELS, rows=np.arange(patient.size), patient=patient)]
    for variable, names in levels.items():
        found = np.array(rows[variable].to_pylist(), dtype=object)
        slices += [Slice.of(variable, name, rows=np.flatnonzero(found == name), patient=patient) for name in names]
    return Panel(
        label_ids=tuple(label_ids),
        split=split,
        sentence_ids=tuple(rows["sentence_id"].to_pylist()),
        truth=truth,
        patient=patient,
        n_patients=int(patient.max()) + 1 if patient.size else 0,
        slices=tuple(slices),
        kind=kind,
    )


def subgroup_levels(
    gold: pa.Table, variables: Sequence[str], known_levels: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Levels of each requested variable: the task's in its order, then others that gold holds, sorted.

    Raises:
        DataError: A variable that gold has no column for, with those it has.
    """
    available = [name for name in gold.column_names if name in SUBGROUP_COLUMNS or name not in GOLD.columns]
    unknown = [name for name in variables if name not in available]
    if unknown:
        raise DataError(
            f"evaluation.subgroups: gold has no subgroup variable {', '.join(map(repr, unknown))}"
            f"{nearest(unknown[0], available)}; known: {', '.join(available)}"
        )
    levels: dict[str, list[str]] = {}
    for variable in variables:
        declared = list(known_levels.get(variable, ()))
        found = {level for level in gold[variable].unique().to_pylist() if level is not None}
        levels[variable] = [*declared, *sorted(found - set(declared))]
    return levels
