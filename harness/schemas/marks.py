"""Numbers that say where they come from: every figure of a task carries a status, a check and a source key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from harness.errors import nearest
from harness.schemas.base import Settings

Status = Literal["published", "derived", "assumed"]
Check = Literal["read", "recalled", "none"]
MARK_KEYS = frozenset({"status", "check", "src"})
SHARE_TOLERANCE = 1e-3  # published percentages are rounded; shares further than this from 1 are a mistake


class Source(Settings):
    title: str
    ref: str | None = None
    """Bibliographic reference, where there is no address."""
    url: str | None = None


class Marked(Settings):
    status: Status
    """published: stated in the source; derived: computed from published figures; assumed: an estimate of our own."""
    check: Check
    """read: seen in a copy of the source or its abstract; recalled: quoted from memory; none: nothing to check."""
    src: str
    """Key into `sources`."""
    note: str | None = None


class Number(Marked):
    v: float
    unit: str | None = None
    basis: str | None = None
    """Which population the number describes, where it is not the target's."""
    alt: Number | None = None
    """Another figure for the same thing that was not taken."""


class MarkedTable(Marked):
    """Several numbers under one mark."""

    values: dict[str, float]


def unmarked_numbers(content: object, place: str = "") -> Iterator[str]:
    """Places of numbers that neither carry a mark nor lie below a mapping that does."""
    if isinstance(content, Mapping):
        if content.keys() >= MARK_KEYS:
            return
        for key, value in content.items():
            yield from unmarked_numbers(value, f"{place}.{key}" if place else str(key))
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from unmarked_numbers(value, f"{place}.{index}")
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield place


def source_keys(content: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Every `src` in nested settings, as (place, key)."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            inside = f"{place}.{key}" if place else str(key)
            if key == "src":
                yield inside, str(value)
            else:
                yield from source_keys(value, inside)
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from source_keys(value, f"{place}.{index}")


def mark_faults(content: Mapping[str, Any], *, not_facts: tuple[str, ...]) -> list[str]:
    """Unmarked numbers and unknown source keys of a whole file.

    Args:
        content: The file as read.
        not_facts: Top-level keys that hold no facts, e.g. `schema_version`.
    """
    facts = {key: value for key, value in content.items() if key not in (*not_facts, "sources")}
    known = list(content.get("sources") or ())
    faults = [f"{place}: a number without status, check and src" for place in unmarked_numbers(facts)]
    faults += [
        f"{place}: unknown source {key!r}{nearest(key, known)}; known: {', '.join(known)}"
        for place, key in source_keys(facts)
        if key not in known
    ]
    return faults


def share_faults(place: str, shares: Mapping[str, float]) -> list[str]:
    """Shares outside [0, 1], and a total that is not 1 within `SHARE_TOLERANCE`."""
    faults = proportion_faults(place, shares)
    total = sum(shares.values())
    if abs(total - 1) > SHARE_TOLERANCE:
        faults.append(f"{place}: shares add up to {total:.6g}; they must add up to 1 within {SHARE_TOLERANCE:g}")
    return faults


def proportion_faults(place: str, values: Mapping[str, float]) -> list[str]:
    return [
        f"{place}.{name}: found {value:g}; must lie in [0, 1]" for name, value in values.items() if not 0 <= value <= 1
    ]


def unknown_names(place: str, found: Mapping[str, Any] | tuple[str, ...], known: list[str], what: str) -> list[str]:
    """Names in `found` that are not among `known`, each with its place and the nearest known one."""
    return [
        f"{place}: unknown {what} {name!r}{nearest(name, known)}; known: {', '.join(known)}"
        for name in found
        if name not in known
    ]


def normalised(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    return {name: value / total for name, value in shares.items()}
