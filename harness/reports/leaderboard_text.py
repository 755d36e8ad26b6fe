"""A run's leaderboard for people: Markdown with the columns one looks at first, and the same as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.reports import suppression, wording
from harness.reports.inputs import Inputs
from harness.reports.latex import latex_table
from harness.reports.leaderboard import DIVERGED, EQUAL, LeaderboardRow, collapse_majority, markdown_table


@dataclass(frozen=True)
class Shown:
    """A row as it is printed.

    Attributes:
        row: Its numbers.
        mix: What stands in the mix's place.
        tied: Whether it is marked as tied with the first.
    """

    row: LeaderboardRow
    mix: str
    tied: bool = False

    @property
    def is_floor(self) -> bool:
        return self.mix != self.row.mix

    @property
    def is_reference(self) -> bool:
        return self.row.mix == self.row.reference_mix


def mix_cell(shown: Shown) -> str:
    return shown.mix


def score_cell(shown: Shown) -> str:
    """Macro-F1 with interval and, where it is tied with the first, a dagger; or why there is none."""
    row = shown.row
    if row.macro_f1 is None or row.status not in ("ok", DIVERGED):
        return row.status
    mark = wording.DAGGER if shown.tied else ""
    return mark.join(
        [wording.number(row.macro_f1), f" {wording.interval(row.macro_f1_ci_low, row.macro_f1_ci_high)}".rstrip()]
    )


def difference_cell(shown: Shown) -> str:
    row = shown.row
    if shown.is_floor:
        return wording.NONE
    if shown.is_reference:
        return "reference"
    bounds = wording.interval(row.difference_ci_low, row.difference_ci_high)
    remark = "" if row.budget in ("", EQUAL) else "(not at equal budget)"
    return " ".join(part for part in (wording.signed(row.difference), bounds, remark) if part)


def p_cell(shown: Shown) -> str:
    return wording.NONE if shown.is_floor or shown.is_reference else wording.p_value(shown.row.p_adjusted)


def worst_cell(shown: Shown) -> str:
    row = shown.row
    if row.worst_subgroup_level is None:
        return wording.NONE
    bounds = wording.interval(row.worst_subgroup_macro_f1_ci_low, row.worst_subgroup_macro_f1_ci_high)
    return f"{wording.number(row.worst_subgroup_macro_f1)} {bounds} ({row.worst_subgroup_level})".replace("  ", " ")


def gap_cell(shown: Shown) -> str:
    row = shown.row
    if row.widest_gap is None:
        return wording.NONE
    bounds = wording.interval(row.widest_gap_ci_low, row.widest_gap_ci_high)
    return f"{wording.number(row.widest_gap)} {bounds} ({row.widest_gap_variable})".replace("  ", " ")


def calibration_cell(shown: Shown) -> str:
    """ECE as scored, and after temperature scaling."""
    return f"{wording.number(shown.row.ece)} / {wording.number(shown.row.ece_scaled)}"


def test_cell(shown: Shown) -> str:
    return f"{wording.count(shown.row.n_test_sentences)} / {wording.count(shown.row.n_test_patients)}"


COLUMNS: dict[str, Callable[[Shown], str]] = {
    "mix": mix_cell,
    "regime": lambda shown: wording.NONE if shown.is_floor else shown.row.regime,
    "learner": lambda shown: shown.row.model,
    "macro-F1": score_cell,
    "difference": difference_cell,
    "adjusted p": p_cell,
    "worst subgroup": worst_cell,
    "widest gap": gap_cell,
    "ECE / scaled": calibration_cell,
    "updates": lambda shown: wording.count(shown.row.n_updates),
    "train seeds": lambda shown: str(shown.row.n_train_seeds),
    "test sentences / patients": test_cell,
}
LATEX_COLUMNS = tuple(name for name in COLUMNS if name not in ("updates", "test sentences / patients"))
N_WORDS = 3  # the first columns hold words


def shown_rows(rows: Sequence[LeaderboardRow]) -> list[Shown]:
    """Rows as printed; the first is not called tied with itself."""
    first = first_of(rows)
    return [Shown(row, mix, bool(row.tied) and row is not first) for row, mix in collapse_majority(rows)]


def first_of(rows: Sequence[LeaderboardRow]) -> LeaderboardRow | None:
    """The entry that others are tied with; None where ties are not known."""
    return next((row for row in rows if row.tied), None)


def tie_words(rows: Sequence[LeaderboardRow], confidence: str) -> str:
    """What the dagger means, or why there is none; one sentence."""
    compared = [row for row in rows if row.tied is not None]
    if not compared:
        return "Which entries are tied with the first could not be told."
    n_tied = sum(bool(row.tied) for row in compared) - 1
    said = (
        f"{wording.DAGGER} statistically tied with the first: with {confidence} confidence the best is the first or "
        "one of these"
    )
    if n_tied:
        return f"{said} ({_comparison(compared)})."
    return f"No entry is statistically tied with the first ({_comparison(compared)}, {confidence} confidence)."


def _comparison(compared: Sequence[LeaderboardRow]) -> str:
    """How ties were told, and why a difference that is not significant need be no tie."""
    resampled = "patients and train seeds" if any(row.n_train_seeds > 1 for row in compared) else "patients"
    return (f"simultaneous one-sided comparison with the best of {len(compared)}, {resampled} resampled; two-sided "
            "tests of single differences ask for more")  # fmt: skip


def leaderboard_markdown(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> str:
    """The leaderboard with its caution, budget remarks and what its numbers are."""
    recipe, sound = inputs.recipe, [row for row in rows if row.status != DIVERGED]
    lines = [f"# Leaderboard of `{recipe.name}`", ""]
    if recipe.task.file.caution:
        lines += [f"> **Caution.** {' '.join(recipe.task.file.caution.split())}", ""]
    if recipe.proxy:
        lines += [f"> **{wording.PROXY.replace(':', ':**', 1)}", ""]
    lines += suppression.markdown(inputs)
    lines += [
        f"Task `{recipe.task.id}`, version {recipe.task.file.version}; {wording.SPLIT_NAMES[inputs.split]} split; "
        f"{wording.confidence(recipe)} intervals that resample patients. "
        f"Differences are to `{inputs.reference}`, macro-F1, paired. {tie_words(sound, wording.confidence(recipe))} "
        "More columns stand in leaderboard.csv.",
        "",
        _markdown(shown_rows(sound)),
        *_set_apart(inputs, [row for row in rows if row.status == DIVERGED]),
    ]
    remarks = sorted({f"- `{row.mix}`: {row.budget}" for row in rows if row.budget not in ("", EQUAL)})
    if remarks:
        lines += ["Not at equal budget, so differences are not down to the sentences alone:", "", *remarks, ""]
    lines += [f"Test set (SHA-256 of its sentence ids and labels): `{inputs.test_set_sha256}`", ""]
    return "\n".join(lines)


def leaderboard_latex(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> str:
    """The same as a booktabs table; mixes with a run that diverged stand below, with the reason."""
    recipe, sound = inputs.recipe, [row for row in rows if row.status != DIVERGED]
    apart = [row for row in rows if row.status == DIVERGED]
    caption = (
        f"Macro-F1 of {recipe.name} on {_test_set(rows)}, {wording.confidence(recipe)} intervals that resample "
        f"patients. Differences are to {inputs.reference}, paired; p-values are adjusted. "
        f"{tie_words(sound, wording.confidence(recipe))} {suppression.banner(inputs)}"
    ).rstrip()
    cells = [latex_cells(shown) for shown in shown_rows(sound)]
    cells += [[f"{row.mix}: set apart, {row.reason}"] for row in apart]
    return latex_table(
        LATEX_COLUMNS, cells, caption=caption, label=f"tab:leaderboard-{recipe.name}", right_from=N_WORDS
    )


def latex_cells(shown: Shown) -> list[str]:
    return [COLUMNS[name](shown) for name in LATEX_COLUMNS]


def markdown_cells(shown: Shown) -> list[str]:
    cells = [write(shown) for write in COLUMNS.values()]
    return [cells[0] if shown.is_floor else f"`{cells[0]}`", *cells[1:]]


def _markdown(rows: Sequence[Shown]) -> str:
    return markdown_table(tuple(COLUMNS), [markdown_cells(shown) for shown in rows], right_from=N_WORDS)


def _test_set(rows: Sequence[LeaderboardRow]) -> str:
    n_sentences = max((row.n_test_sentences or 0 for row in rows), default=0)
    n_patients = max((row.n_test_patients or 0 for row in rows), default=0)
    if rows and not n_sentences:
        return "held-out patients whose number is withheld"
    return f"{n_sentences:,} sentences of {n_patients:,} held-out patients"


def _set_apart(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> list[str]:
    """A table of its own for mixes with a run that diverged, and why; nothing where there is none."""
    if not rows:
        return []
    reasons = [f"- `{row.mix}`: {row.reason}" for row in rows]
    if any(row.mix == inputs.reference for row in rows):
        reasons.append(f"- every difference above is to `{inputs.reference}`, which is among them")
    return [
        "Set apart, because a run of theirs diverged:",
        "",
        _markdown([Shown(row, row.mix) for row in rows]),
        *reasons,
        "",
    ]
