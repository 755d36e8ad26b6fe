"""One leaderboard over several runs. Runs on another test set or task version stand apart, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.reports import wording
from harness.reports.leaderboard import CSV_COLUMNS, DIVERGED, markdown_table, to_csv

SHORT_HASH = 12
CsvRow = Mapping[str, str]
Identity = tuple[str, str, str]  # task, task version, hash of the test set

HEAD = ("run", "mix", "learner", "macro-F1", "difference", "adjusted p", "worst subgroup", "updates", "train seeds",
        "test sentences / patients")  # fmt: skip


def merge_leaderboards(leaderboards: Mapping[str, Sequence[CsvRow]]) -> tuple[str, str]:
    """Merge the rows of several `leaderboard.csv` files.

    The task, version and test set that most runs share is the common one (the first given, where several tie).

    Args:
        leaderboards: Name of the run to its CSV rows; at least one run, each with at least one row.

    Returns:
        CSV with the columns `run`, `comparable` and `why_apart` before those of a leaderboard; and Markdown with one
        table of comparable runs and a section for each group of runs that is set apart.
    """
    identities = {run: _identity(rows[0]) for run, rows in leaderboards.items()}
    common = Counter(identities.values()).most_common(1)[0][0]
    reasons = {run: why_apart(identity, common) for run, identity in identities.items()}
    rows = [
        {"run": run, "comparable": "no" if reason else "yes", "why_apart": reason, **row}
        for run, given in leaderboards.items()
        for row in given
        for reason in (reasons[run] or why_row_apart(row),)
    ]
    rows.sort(key=lambda row: (row["comparable"] == "no", row["why_apart"], *_by_score(row)))
    text = to_csv(("run", "comparable", "why_apart", *CSV_COLUMNS), rows)
    parts = [
        f"# Leaderboard of {len(leaderboards)} run{'s' if len(leaderboards) != 1 else ''}\n",
        f"Task `{common[0]}`, version {common[1]}, test set `{common[2][:SHORT_HASH]}`.\n",
        markdown_table(HEAD, [_cells(row) for row in rows if row["comparable"] == "yes"], right_from=3),
    ]
    for reason in sorted({row["why_apart"] for row in rows if row["why_apart"]}):
        parts += [
            f"## Not comparable: {reason}\n",
            markdown_table(HEAD, [_cells(row) for row in rows if row["why_apart"] == reason], right_from=3),
        ]
    return text, "\n".join(parts)


def why_apart(identity: Identity, common: Identity) -> str:
    """Why a run does not stand beside the others; empty where it does."""
    if identity == common:
        return ""
    task, version, test_set = identity
    if task != common[0]:
        return f"another task ({task} instead of {common[0]})"
    if version != common[1]:
        return f"another version of the task ({version} instead of {common[1]})"
    return f"another test set ({test_set[:SHORT_HASH]} instead of {common[2][:SHORT_HASH]})"


def why_row_apart(row: CsvRow) -> str:
    """Why one row of a comparable run stands apart: the training stage marked one of its runs."""
    return f"{DIVERGED} in training ({row['reason']})" if row["status"] == DIVERGED else ""


def _identity(row: CsvRow) -> Identity:
    return row["task"], row["task_version"], row["test_set_sha256"]


def _by_score(row: CsvRow) -> tuple[bool, float]:
    return (not row["macro_f1"], -float(row["macro_f1"] or 0))


def _float(text: str) -> float | None:
    return float(text) if text else None


def _cells(row: CsvRow) -> list[str]:
    value, low, high = (_float(row[f"macro_f1{end}"]) for end in ("", "_ci_low", "_ci_high"))
    is_reference = row["mix"] == row["reference_mix"]
    budget = " (not at equal budget)" if row["budget"].startswith("not at") else ""
    worst = f"{wording.number(_float(row['worst_subgroup_macro_f1']))} ({row['worst_subgroup_level']})"
    return [
        row["run"],
        f"`{row['mix']}`",
        row["model"],
        f"{wording.number(value)} {wording.interval(low, high)}".strip() if value is not None else row["status"],
        f"reference{budget}" if is_reference else wording.signed(_float(row["difference"])) + budget,
        wording.NONE if is_reference else wording.p_value(_float(row["p_adjusted"])),
        worst if row["worst_subgroup_level"] else wording.NONE,
        row["n_updates"] or wording.NONE,
        row["n_train_seeds"],
        f"{row['n_test_sentences'] or wording.NONE} / {row['n_test_patients'] or wording.NONE}",
    ]
