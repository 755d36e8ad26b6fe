"""The leaderboard over runs as CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from harness.leaderboards.boards import SHORT_HASH, Entry
from harness.reports.latex import latex_table
from harness.reports.leaderboard import CSV_COLUMNS, LeaderboardRow, collapse_majority, markdown_table, to_csv
from harness.reports.leaderboard_text import COLUMNS, Shown, first_of, tie_words

CSV_HEAD = ("run", "comparable", "why_apart", *CSV_COLUMNS, "why_no_tie")
MARKDOWN_COLUMNS = (
    "mix",
    "learner",
    "macro-F1",
    "difference",
    "adjusted p",
    "worst subgroup",
    "ECE / scaled",
    "train seeds",
)
LATEX_COLUMNS = tuple(name for name in MARKDOWN_COLUMNS if name != "train seeds")
N_WORDS = 3  # run, mix, learner


def board_csv(entries: Sequence[Entry]) -> str:
    rows = [
        {
            "run": entry.run,
            "comparable": not entry.why_apart,
            "why_apart": entry.why_apart,
            **asdict(entry.row),
            "why_no_tie": entry.why_no_tie,
        }
        for entry in entries
    ]
    return to_csv(CSV_HEAD, rows)


def board_markdown(entries: Sequence[Entry], left_out: Mapping[str, str]) -> str:
    """One table of comparable entries, one for each reason to stand apart, and the folders that were left out."""
    together = [entry for entry in entries if not entry.why_apart]
    lines = [f"# Leaderboard of {_counted(len({entry.run for entry in entries}), 'run')}", "", about(together), ""]
    lines += [_table(together), *_tie_remarks(together)]
    for reason, group in apart(entries).items():
        lines += [f"## Not comparable: {reason}", "", _table(group)]
    if left_out:
        lines += ["## Left out", "", *(f"- `{folder}`: {reason}" for folder, reason in left_out.items()), ""]
    return "\n".join(lines)


def board_latex(entries: Sequence[Entry], left_out: Mapping[str, str]) -> str:
    """Comparable entries as a booktabs table; whatever stands apart is counted in the caption."""
    together = [entry for entry in entries if not entry.why_apart]
    caption = about(together)
    groups = apart(entries)
    if groups:
        told = "; ".join(f"{_counted(len(group), 'row')}: {reason}" for reason, group in groups.items())
        caption += f" Not comparable and not shown: {told}."
    if left_out:
        caption += f" {_counted(len(left_out), 'folder')} left out."
    cells = [[run, *(COLUMNS[name](shown) for name in LATEX_COLUMNS)] for run, shown in shown_entries(together)]
    return latex_table(("run", *LATEX_COLUMNS), cells, caption=caption, label="tab:leaderboard", right_from=N_WORDS)


def about(together: Sequence[Entry]) -> str:
    """What the comparable entries share, and how their numbers were made."""
    if not together:
        return "No entry is comparable with another."
    row = together[0].row
    confidence = _confidence(together)
    n_sentences = max(entry.row.n_test_sentences or 0 for entry in together)
    n_patients = max(entry.row.n_test_patients or 0 for entry in together)
    return (
        f"Macro-F1 on task {row.task}, version {row.task_version}, test set {row.test_set_sha256[:SHORT_HASH]} "
        f"({n_sentences:,} sentences of {n_patients:,} patients), metrics version {row.metrics_version}; {confidence} "
        "intervals that resample patients. Differences are to the reference mix of the same run, and p-values are "
        f"adjusted within it. {tie_words([entry.row for entry in together], f'{100 * row.confidence:g}%')}"
    )


def apart(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Entries that stand apart, by reason."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.why_apart:
            groups.setdefault(entry.why_apart, []).append(entry)
    return groups


def shown_entries(entries: Sequence[Entry]) -> Iterator[tuple[str, Shown]]:
    """Run and row as printed; a run whose majority class scores the same for every mix shows it once."""
    first = first_of([entry.row for entry in entries])
    mixes: dict[int, str] = {}
    for run in dict.fromkeys(entry.run for entry in entries):
        rows = [entry.row for entry in entries if entry.run == run]
        mixes |= {id(row): mix for row, mix in collapse_majority(rows)}
    for entry in entries:
        if id(entry.row) in mixes:
            yield entry.run, Shown(entry.row, mixes[id(entry.row)], _is_tied(entry.row, first))


def _is_tied(row: LeaderboardRow, first: LeaderboardRow | None) -> bool:
    return bool(row.tied) and row is not first


def _table(entries: Sequence[Entry]) -> str:
    cells = []
    for run, shown in shown_entries(entries):
        of_row = [COLUMNS[name](shown) for name in MARKDOWN_COLUMNS]
        cells.append([run, of_row[0] if shown.is_floor else f"`{of_row[0]}`", *of_row[1:]])
    return markdown_table(("run", *MARKDOWN_COLUMNS), cells, right_from=N_WORDS)


def _tie_remarks(together: Sequence[Entry]) -> list[str]:
    remarks = {f"- `{entry.run}`, `{entry.row.mix}`, {entry.row.learner}: {entry.why_no_tie}": None
               for entry in together if entry.why_no_tie}  # fmt: skip
    return ["Not among the compared, so not called tied or behind:", "", *remarks, ""] if remarks else []


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _confidence(entries: Sequence[Entry]) -> str:
    found = sorted({entry.row.confidence for entry in entries})
    return " or ".join(f"{100 * one:g}%" for one in found)
