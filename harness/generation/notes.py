"""What each note of an arm is to say. Pure.

An arm that sees the trajectory writes notes of planned visits: visits are taken by stage and note type in the plan's
proportion and, below that, evenly over personas; a note is to carry what its visit mentions. An arm that does not see
it gets labels by the arm's quotas, dealt out evenly over its notes: there is no visit whose mentions it could carry.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from harness.errors import DataError
from harness.generation.arms import Plan, in_turn, largest_remainder, spread_evenly
from harness.prompts.notes import Mention, NoteSlot
from harness.schemas.arms import Arm, Sight

VISIT_KEY = ("persona_id", "visit_index")


@dataclass(frozen=True)
class NoteWish:
    """What an arm asks of its notes as a whole.

    Attributes:
        sees: What the arm sees.
        n_notes: How many.
        max_mentions: Mentions of one note at most; the first ones of a visit that has more.
        quotas: Planned sentences of each label over all notes; used where the arm sees no trajectory.
        reported_label: Label of mentions that somebody other than the patient tells; None where there is none.
    """

    sees: Collection[Sight]
    n_notes: int
    max_mentions: int
    quotas: Mapping[str, int]
    reported_label: str | None = None


def note_wish(arm: Arm, quotas: Mapping[str, int], reported_label: str | None) -> NoteWish:
    return NoteWish(arm.sees or (), arm.n_notes, arm.max_mentions, quotas, reported_label)


def plan_notes(wish: NoteWish, plan: Plan, *, rng: np.random.Generator) -> list[NoteSlot]:
    """One slot per note, in random order, so that the first notes of an arm are a fair sample of all.

    Raises:
        DataError: The arm sees personas or visits and there are none, or fewer visits than notes.
    """
    if "trajectory" in wish.sees:
        return _of_visits(wish, plan, rng)
    return _of_labels(wish, plan, rng)


# -- notes of visits ---------------------------------------------------------------------------------------------------


def _of_visits(wish: NoteWish, plan: Plan, rng: np.random.Generator) -> list[NoteSlot]:
    if plan.visits is None or plan.mentions is None or plan.visits.num_rows == 0:
        raise DataError("visits: the table is empty, but the arm sees the trajectory")
    if wish.n_notes > plan.visits.num_rows:
        raise DataError(
            f"n_notes is {wish.n_notes}, but this arm's personas have {plan.visits.num_rows} visits, and each is "
            "written once; ask for fewer notes or give the arm more personas (n_personas)"
        )
    chosen = choose_visits(plan.visits, wish.n_notes, rng=rng)
    by_visit = _mentions_of(chosen, plan.mentions)
    sees_persona = "persona" in wish.sees
    return [
        NoteSlot(
            index=index,
            mentions=_planned(by_visit[row["persona_id"], row["visit_index"]], wish),
            persona=plan.personas[row["persona_id"]] if sees_persona else None,
            # a visit's number says nothing without its persona
            visit_index=row["visit_index"] if sees_persona else None,
            stage=row["stage"],
            note_type=row["note_type"],
            style=row["style"],
        )
        for index, row in enumerate(chosen.to_pylist())
    ]


def choose_visits(visits: pa.Table, n: int, *, rng: np.random.Generator) -> pa.Table:
    """`n` visits, none twice, whose stages and note types are shared out as those of all visits are.

    Shares are met to the nearest whole note by largest remainders; in each stage and note type the visits come from the
    personas used least so far.
    """
    owners = visits["persona_id"].to_pylist()
    strata: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(zip(visits["stage"].to_pylist(), visits["note_type"].to_pylist(), strict=True)):
        strata["\x1f".join(pair)].append(place)
    counts = {name: len(strata[name]) for name in sorted(strata)}
    n_used: Counter[str] = Counter()
    places: list[int] = []
    for name, quota in largest_remainder(counts, n).items():
        places += spread_evenly(owners, np.array(strata[name]), quota, n_used=n_used, rng=rng)
    return visits.take(pa.array([places[one] for one in rng.permutation(len(places))], pa.int64()))


def _mentions_of(visits: pa.Table, mentions: pa.Table) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The mentions of each visit, in the order of the plan."""
    wanted = mentions.join(visits.select(list(VISIT_KEY)), keys=list(VISIT_KEY), join_type="inner")
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in wanted.sort_by([(name, "ascending") for name in (*VISIT_KEY, "mention_index")]).to_pylist():
        found[row["persona_id"], row["visit_index"]].append(row)
    return found


def _planned(rows: Sequence[Mapping[str, Any]], wish: NoteWish) -> tuple[Mention, ...]:
    return tuple(
        Mention(
            label=row["label"],
            domain=row["domain"],
            term=row["term"],
            polarity=row["polarity"],
            course=row["course"],
            reported=row["label"] == wish.reported_label,
        )
        for row in rows[: wish.max_mentions]
    )


# -- notes of labels ---------------------------------------------------------------------------------------------------


def _of_labels(wish: NoteWish, plan: Plan, rng: np.random.Generator) -> list[NoteSlot]:
    labels = [label for label, n in wish.quotas.items() for _ in range(n)]
    dealt = [labels[place] for place in rng.permutation(len(labels))]
    personas: list[Mapping[str, Any] | None] = [None] * wish.n_notes
    if "persona" in wish.sees:
        personas = [plan.personas[one] for one in in_turn(sorted(plan.personas), wish.n_notes, rng)]
    return [
        NoteSlot(
            index=index,
            mentions=tuple(Mention(label=label) for label in dealt[index :: wish.n_notes]),
            persona=personas[index],
        )
        for index in range(wish.n_notes)
    ]
