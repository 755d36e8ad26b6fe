"""A copy of the report's inputs in which small cells are withheld, for reports that leave the house.

A withheld value is no zero and no gap in a table: its numbers are None and its status is `suppressed`. Everything the
stage writes is made from the copy, so nothing needs to be withheld anywhere else. Which cells are meant is decided in
`small_cells.py`; a value is withheld with the cell it rests on, a gap or an interaction with any level of its variable.

The size of a cell is the number of patients behind it. What a model answered for them is not counted again: a row of a
confusion matrix or a recall rests on the patients of its class, and may show that two sentences were missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from harness.metrics.fidelity import GOLD, MEASURES, WHEN, WHO
from harness.reports.inputs import GAP_LEVEL, Composition, Inputs, Row
from harness.reports.small_cells import ALL, OVERALL, Cell, hidden_cells
from harness.reports.wording import SUPPRESSED
from harness.schemas.manifest import Manifest
from harness.schemas.mix import GOLD_ORIGIN
from harness.schemas.recipe import SPLITS

STAGES_OF_PATIENTS = ("cohort", "mixes", "scoring", "evaluation")  # their row counts tell the sizes of splits
OF_LABELS = ("label_share", "label_tv")  # measures of fidelity that tell how often gold has each class
NUMBERS = frozenset({
    "value", "ci_low", "ci_high", "n", "n_positive", "n_patients", "difference", "se_patients", "se_seeds",
    "df_patients", "detectable", "p_value", "p_adjusted", "shortfall", "shortfall_high", "tied", "target",
    "n_sentences", "n_found", "n_removed", "n_checked", "n_gold", "score", "gold_equivalent", "per_sentence",
    "share_undefined",
})  # fmt: skip


@dataclass(frozen=True)
class Hidden:
    """What may not be shown."""

    limit: int
    cells: Mapping[str, frozenset[Cell]]
    """By split."""
    known: Set[Cell]
    """Cells that the statistics tell of; of any other nothing is known, so it is not shown."""

    def cell(self, split: str, variable: str, level: str, label: str = ALL) -> bool:
        cell = Cell(variable, level, label)
        return cell not in self.known or cell in self.cells[split]

    def levels(self, split: str, variable: str, label: str = ALL) -> bool:
        """Whether any level of a variable is hidden."""
        cells = {cell for cell in self.known if (cell.variable, cell.label) == (variable, label)}
        return not cells or bool(cells & self.cells[split])

    def classes(self, split: str) -> bool:
        """Whether any class is hidden in the whole of a split."""
        return any(cell.variable == OVERALL for cell in self.cells[split])

    def whole(self, split: str) -> bool:
        return self.cell(split, OVERALL, ALL)


@dataclass
class Censor:
    """Withholds rows and counts them."""

    reason: str
    n_withheld: int = 0

    def blank(self, rows: Iterable[Row], is_hidden: Callable[[Row], bool]) -> list[Row]:
        """The rows, those that are hidden without their numbers."""
        return [self._withheld(row) if is_hidden(row) else row for row in rows]

    def drop(self, rows: Iterable[Row], is_hidden: Callable[[Row], bool]) -> list[Row]:
        """The rows that are not hidden."""
        found = list(rows)
        kept = [row for row in found if not is_hidden(row)]
        self.n_withheld += len(found) - len(kept)
        return kept

    def _withheld(self, row: Row) -> Row:
        self.n_withheld += 1
        blank = {name: None if name in NUMBERS else value for name, value in row.items()}
        return blank | ({"status": SUPPRESSED, "reason": self.reason} if "status" in row else {})


def suppress(inputs: Inputs) -> Inputs:
    """The same inputs without small cells, and how many were withheld; unchanged where the recipe shows all."""
    limit = inputs.recipe.file.reporting.min_patients_shown
    if limit is None:
        return inputs
    hidden = find_hidden(inputs.gold_statistics, limit)
    censor = Censor(f"fewer than {limit} patients, or what would give such a cell away")
    copy = replace(
        inputs,
        metrics=censor.blank(inputs.metrics, lambda row: _rests_on_hidden(row, hidden, inputs.split)),
        contrasts=_contrasts(inputs, hidden, censor),
        ties=censor.blank(inputs.ties, lambda _: hidden.whole(inputs.split)),
        confusion=censor.blank(
            inputs.confusion, lambda row: hidden.cell(inputs.split, OVERALL, ALL, row["true_label"])
        ),
        gold_statistics=_statistics(inputs.gold_statistics, hidden, censor),
        reliability=_reliability(inputs, hidden, censor),
        exchange=censor.blank(inputs.exchange, lambda row: _of_few(inputs, row["mix"], hidden)),
        temperatures=censor.drop(inputs.temperatures, lambda _: hidden.whole("validation")),
        fidelity=_fidelity(inputs.fidelity, hidden, censor),
        audit={
            mix: censor.blank(rows, lambda row: _few_gold_sentences(row, limit)) for mix, rows in inputs.audit.items()
        },
        composition={mix: _composition(one, limit, censor) for mix, one in inputs.composition.items()},
        manifests=[_manifest(one, hidden, censor) for one in inputs.manifests],
    )
    return replace(copy, n_withheld=censor.n_withheld)


def banner(inputs: Inputs) -> str:
    """What a reader of a suppressed copy is told on top; empty where everything is shown."""
    if inputs.n_withheld is None:
        return ""
    limit = inputs.recipe.file.reporting.min_patients_shown
    return (
        f"Suppressed copy: {inputs.n_withheld:,} values that rest on fewer than {limit} patients, or that would give "
        f"such a value away, are withheld. They read {SUPPRESSED} or a dash; none of them is zero."
    )


def markdown(inputs: Inputs) -> list[str]:
    """The banner as lines of Markdown."""
    words = banner(inputs)
    return [f"> **{words}**", ""] if words else []


def find_hidden(statistics: Sequence[Row], limit: int) -> Hidden:
    """Hidden cells of every split. In a level or class that nobody has in any split there is no secret."""
    of_all = {_cell(row): row["n_patients"] for row in statistics if row["split"] == ALL}
    real = [
        cell
        for cell in of_all
        if of_all.get(cell._replace(label=ALL), 0) and of_all.get(Cell(OVERALL, ALL, cell.label), 0)
    ]
    found = {}
    for split in SPLITS:
        counts = {_cell(row): row["n_patients"] for row in statistics if row["split"] == split}
        found[split] = hidden_cells({cell: counts.get(cell, 0) for cell in real}, limit)
    return Hidden(limit, found, frozenset(of_all))


def _cell(row: Row) -> Cell:
    return Cell(row["variable"], row["level"], row["label"])


# -- results ---------------------------------------------------------------------------------------


def _rests_on_hidden(row: Row, hidden: Hidden, split: str) -> bool:
    """Whether the cell of a metric or contrast is hidden; of one that is about all levels, whether any of them is."""
    variable, level, label = row["subgroup_variable"], row["subgroup_level"], row["class"]
    if level == GAP_LEVEL or level.startswith("("):
        return hidden.whole(split) or hidden.levels(split, variable, label)
    return hidden.cell(split, variable, level, label)


def _contrasts(inputs: Inputs, hidden: Hidden, censor: Censor) -> list[Row]:
    """Degrees of freedom are left out of every row: they tell how many patients have a class."""
    rows = censor.blank(inputs.contrasts, lambda row: _rests_on_hidden(row, hidden, inputs.split))
    return [{**row, "df_patients": None} for row in rows]


def _reliability(inputs: Inputs, hidden: Hidden, censor: Censor) -> list[Row]:
    """Diagrams of hidden levels go, and so do those with a bin of few sentences: the other bins would tell that one."""

    def place(row: Row) -> tuple[str, ...]:
        names = ("mix", "learner", "train_seed", "probability", "subgroup_variable", "subgroup_level")
        return tuple(row[name] for name in names)

    few = {place(row) for row in inputs.reliability if row["n"] < hidden.limit}
    return censor.drop(
        inputs.reliability,
        lambda row: place(row) in few or hidden.cell(inputs.split, row["subgroup_variable"], row["subgroup_level"]),
    )


# -- data ------------------------------------------------------------------------------------------


def _statistics(rows: Sequence[Row], hidden: Hidden, censor: Censor) -> list[Row]:
    """Cells by split; of all splits together nothing, where anything is hidden in one of them.

    That nearly all patients have a class tells who has not. Where that is so anywhere, numbers of patients are left out
    of all classes, since those of one cell follow from others; numbers of sentences stay.
    """
    anything = any(hidden.cells.values())
    shown = censor.blank(
        rows, lambda row: anything if row["split"] == ALL else _cell(row) in hidden.cells[row["split"]]
    )
    totals = {(row["split"], row["variable"], row["level"]): row["n_patients"] for row in rows if row["label"] == ALL}
    tells = any(
        0 < totals[row["split"], row["variable"], row["level"]] - row["n_patients"] < hidden.limit
        for row in shown
        if row["n_patients"] is not None
    )
    return [{**row, "n_patients": None} if tells and row["label"] != ALL else row for row in shown]


def _fidelity(rows: Sequence[Row], hidden: Hidden, censor: Censor) -> list[Row]:
    """Gold's own rows; and where gold is what an arm aims at, the target."""
    found = censor.blank(rows, lambda row: row["arm"] == GOLD and _gold_is_hidden(row, hidden))
    aims = [row["mark"] == GOLD and row["target"] is not None and _gold_is_hidden(row, hidden) for row in found]
    censor.n_withheld += sum(aims)
    return [{**row, "target": None, "mark": None} if aim else row for row, aim in zip(found, aims, strict=True)]


def _gold_is_hidden(row: Row, hidden: Hidden) -> bool:
    part = MEASURES[row["measure"]].part
    if part == WHO:  # of a pair of variables no cells are known
        return hidden.whole("train") or hidden.levels("train", row["variable"])
    if row["measure"] in OF_LABELS:
        return hidden.whole("train") or hidden.classes("train")
    return part == WHEN or hidden.whole("train")  # by stage and domain; how many patients that is, nobody counted


def _few_gold_sentences(row: Row, limit: int) -> bool:
    """Fewer gold sentences than patients would be needed; that none was found may be told."""
    return row["origin"] == GOLD_ORIGIN and any(0 < row[name] < limit for name in ("n_found", "n_removed"))


def _of_few(inputs: Inputs, mix: str, hidden: Hidden) -> bool:
    """Whether the gold of a mix, which its row of the exchange counts, is of few patients; or the whole split is."""
    return hidden.whole(inputs.split) or 0 < inputs.composition[mix].n_gold_patients < hidden.limit


def _composition(found: Composition, limit: int, censor: Censor) -> Composition:
    """How many gold sentences a mix holds, where they are of few patients."""
    if not 0 < found.n_gold_patients < limit:
        return found
    censor.n_withheld += 1
    by_origin = {
        origin: (None if origin == GOLD_ORIGIN else distinct, examples)
        for origin, (distinct, examples) in found.by_origin.items()
    }
    return replace(found, n_sentences=None, by_origin=by_origin, n_gold_patients=0)


def _manifest(manifest: Manifest, hidden: Hidden, censor: Censor) -> Manifest:
    """Row counts of stages that read gold, where one split is hidden as a whole: the others would tell it."""
    if manifest.stage not in STAGES_OF_PATIENTS or not any(hidden.whole(split) for split in SPLITS):
        return manifest
    censor.n_withheld += 1
    blank = dict.fromkeys(("rows_in", "rows_out", "rejected"))
    return manifest.model_copy(update={"counts": manifest.counts.model_copy(update=blank)})
