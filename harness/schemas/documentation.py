"""Part of `trajectory.yaml`: who writes a patient's notes, and in which style."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from harness.schemas.base import Settings
from harness.schemas.marks import MarkedTable, Number, proportion_faults, share_faults, unknown_names

Style = Literal["terse", "narrative", "templated", "abbreviation_heavy"]
STYLES: tuple[str, ...] = get_args(Style)


class Documentation(Settings):
    style_share: MarkedTable
    """Style to share of authors, and so of notes in expectation; an author keeps to one style."""
    authors: MarkedTable
    """Note type to the number of people who may write a patient's notes of that type."""
    continuity: Number
    """Probability that a note is by the author of the patient's note of that type before it, where there is another to
    write it."""


def documentation_faults(documentation: Documentation, note_types: Collection[str]) -> list[str]:
    """Unknown styles, shares that do not add up, note types without authors, a probability outside [0, 1]."""
    shares, authors = documentation.style_share.values, documentation.authors.values
    faults = unknown_names("documentation.style_share", shares, list(STYLES), "style")
    faults += share_faults("documentation.style_share", shares)
    known = sorted(note_types)
    faults += unknown_names("documentation.authors", authors, known, "note type")
    faults += [f"documentation.authors: missing note type {name!r}" for name in known if name not in authors]
    faults += [f"documentation.authors.{name}: found {n:g}; must be a whole number of at least 1"
               for name, n in authors.items() if n < 1 or n != int(n)]  # fmt: skip
    return faults + proportion_faults("documentation", {"continuity": documentation.continuity.v})
