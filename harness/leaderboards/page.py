"""The leaderboard over runs as one HTML page that needs no network; sortable with the report's script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.leaderboards.boards import Entry
from harness.leaderboards.text import about, apart, shown_entries
from harness.reports import page, wording
from harness.reports.leaderboard import EQUAL

TEMPLATES = Path(__file__).parent / "templates"
LEARNERS = {"llm": "fine-tuned language models", **wording.LEARNER_NAMES}


def board_page(entries: Sequence[Entry], left_out: Mapping[str, str]) -> str:
    """The whole page as text.

    Args:
        entries: Comparable ones first.
        left_out: Folder to the reason.
    """
    together = [entry for entry in entries if not entry.why_apart]
    groups = [("Comparable runs", together)] if together else []
    groups += [(f"Not comparable: {reason}", group) for reason, group in apart(entries).items()]
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, page.TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number,
        count=wording.count,
        p_value=wording.p_value,
        signed=wording.signed,
        seconds=_seconds,
    )
    environment.globals.update(interval=wording.interval, dash=wording.NONE, dagger=wording.DAGGER, equal=EQUAL)
    template = environment.get_template("leaderboard.html.jinja")
    return template.render(
        groups=[(title, list(shown_entries(group))) for title, group in groups],
        about=about(together),
        learners={entry.row.learner: LEARNERS.get(entry.row.learner, entry.row.learner) for entry in entries},
        left_out=left_out,
        n_runs=len({entry.run for entry in entries}),
    )


def _seconds(value: float | None) -> str:
    return wording.NONE if value is None else wording.seconds(value)
