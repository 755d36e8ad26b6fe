"""What each sentence of an arm is to be about: labels by quota, and below them what the arm may see. Pure.

Every arm of a recipe gets the same label quotas, so that arms differ in content and not in what was asked for. An arm
that sees the trajectory takes planned mentions without replacement, evenly over personas and in the plan's proportion
of domains; one that sees personas alone takes them in turn.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError
from harness.label_sets import labels_of
from harness.prompts.sight import Slot
from harness.schemas.arms import Sight
from harness.schemas.task import Task

# Of the negative label's sentences, the share that deny a planned term; the rest are routine content of the visit. Both
# kinds are hard for a classifier in their own way, and a note holds both.
DENIED_SHARE = 0.5


@dataclass(frozen=True)
class Plan:
    """The alignment tables, as far as an arm may see them.

    Attributes:
        personas: Rows by persona_id; empty where the arm sees no persona.
        visits: The visits table; None where the arm sees no trajectory.
        mentions: The mentions table; None likewise.
    """

    personas: Mapping[str, Mapping[str, Any]]
    visits: pa.Table | None = None
    mentions: pa.Table | None = None


def largest_remainder(counts: Mapping[str, int], n: int) -> dict[str, int]:
    """Whole numbers in proportion to `counts` that add up to `n`; ties go to the earlier key.

    Raises:
        DataError: All counts are zero.

    Source: Hamilton's method; Balinski and Young, Fair Representation (1982), ch. 3.
    """
    total = sum(counts.values())
    if total == 0:
        raise DataError(f"cannot share out {n} sentences: no rows of {', '.join(counts)} to take proportions from")
    quotas = {key: n * count // total for key, count in counts.items()}
    by_remainder = sorted(counts, key=lambda key: -(n * counts[key] % total))
    for key in by_remainder[: n - sum(quotas.values())]:
        quotas[key] += 1
    return quotas


def count_labels(labels: pa.ChunkedArray, known: Sequence[str]) -> dict[str, int]:
    """Rows of each known label, in the order of `known`; a row with several labels counts under each."""
    counted: Counter[str] = Counter()
    for item in pc.value_counts(labels).to_pylist():
        for label in labels_of(item["values"]):
            counted[label] += item["counts"]
    return {label: counted[label] for label in known}


def plan_slots(
    task: Task, sees: Collection[Sight], quotas: Mapping[str, int], plan: Plan, *, rng: np.random.Generator
) -> list[Slot]:
    """One slot per sentence, label by label in the task's order.

    Args:
        task: For the negative label.
        sees: What the arm sees; nothing else is put into a slot.
        quotas: Sentences of each label.
        plan: Personas, visits and mentions to draw on.
        rng: Decides which.

    Raises:
        DataError: The arm sees personas or visits, and there are none.
    """
    labels = [label for label in task.label_ids for _ in range(quotas.get(label, 0))]
    if "trajectory" in sees:
        drawn = _Trajectory(plan, rng).draw(quotas, negative=task.negative, labels=task.label_ids)
    elif "persona" in sees:
        drawn = [{"persona_id": one} for one in in_turn(sorted(plan.personas), len(labels), rng)]
    else:
        drawn = [{} for _ in labels]
    return [_slot(index, label, row, sees, plan) for index, (label, row) in enumerate(zip(labels, drawn, strict=True))]


def _slot(index: int, label: str, row: Mapping[str, Any], sees: Collection[Sight], plan: Plan) -> Slot:
    sees_persona, sees_visit = "persona" in sees, "trajectory" in sees
    return Slot(
        index=index,
        label=label,
        persona=plan.personas[row["persona_id"]] if sees_persona else None,
        # a visit's number says nothing without its persona
        visit_index=row["visit_index"] if sees_persona and sees_visit else None,
        stage=row["stage"] if sees_visit else None,
        note_type=row["note_type"] if sees_visit else None,
        domain=row.get("domain") if sees_visit else None,
        term=row.get("term") if sees_visit else None,
        polarity=row.get("polarity") if sees_visit else None,
        course=row.get("course") if sees_visit else None,
        style=row.get("style") if sees_visit else None,
    )


def in_turn(names: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """`n` names, each as often as any other (within one), in random order."""
    if not names:
        raise DataError("personas: the table is empty, but the arm sees personas")
    turns: list[str] = []
    while len(turns) < n:
        turns += [names[place] for place in rng.permutation(len(names))]
    return turns[:n]


class _Trajectory:
    """Draws mentions and visits; remembers how often each persona was used."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        if plan.visits is None or plan.mentions is None or plan.visits.num_rows == 0:
            raise DataError("visits: the table is empty, but the arm sees the trajectory")
        self._visits, self._mentions, self._rng = plan.visits, plan.mentions, rng
        self._n_used: Counter[str] = Counter()
        keys = zip(self._visits["persona_id"].to_pylist(), self._visits["visit_index"].to_pylist(), strict=True)
        self._visit_row = {key: place for place, key in enumerate(keys)}

    def draw(self, quotas: Mapping[str, int], *, negative: str | None, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of mention and visit, in the order of labels; where no mention fits, of a visit alone."""
        rows: list[dict[str, Any]] = []
        for label in labels:
            n = quotas.get(label, 0)
            is_negative = label == negative
            wanted = round(n * DENIED_SHARE) if is_negative else n
            chosen = self._draw_mentions(label, wanted, "absent" if is_negative else "present")
            rows += [self._with_visit(row) for row in chosen]
            rows += self._draw_visits(n - len(chosen))
        return rows

    def _draw_mentions(self, label: str, n: int, polarity: str) -> list[dict[str, Any]]:
        """Mentions of a label by domain quotas; fewer than `n` where the plan holds fewer."""
        fits = pc.and_(pc.equal(self._mentions["label"], label), pc.equal(self._mentions["polarity"], polarity))
        pool = self._mentions.filter(fits)
        n = min(n, pool.num_rows)
        if n == 0:
            return []
        domains = np.array(pool["domain"].to_pylist(), dtype=object)
        counts = count_labels(pool["domain"], sorted(set(domains.tolist())))
        rows: list[dict[str, Any]] = []
        for domain, quota in largest_remainder(counts, n).items():
            places = np.flatnonzero(domains == domain)
            rows += pool.take(pa.array(self._spread(pool, places, quota), pa.int64())).to_pylist()
        return rows

    def _draw_visits(self, n: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while len(rows) < n:  # more than once around only where sentences outnumber visits
            places = np.arange(self._visits.num_rows)
            quota = min(n - len(rows), places.size)
            chosen = self._spread(self._visits, places, quota)
            rows += self._visits.take(pa.array(chosen, pa.int64())).to_pylist()
        return rows

    def _with_visit(self, mention: dict[str, Any]) -> dict[str, Any]:
        place = self._visit_row[mention["persona_id"], mention["visit_index"]]
        visit = self._visits.slice(place, 1).to_pylist()[0]
        return {**mention, "stage": visit["stage"], "note_type": visit["note_type"], "style": visit["style"]}

    def _spread(self, rows: pa.Table, places: np.ndarray[Any, np.dtype[np.int64]], n: int) -> list[int]:
        owners = rows["persona_id"].to_pylist()
        return spread_evenly(owners, places, n, n_used=self._n_used, rng=self._rng)


def spread_evenly(
    owners: Sequence[str],
    places: np.ndarray[Any, np.dtype[np.int64]],
    n: int,
    *,
    n_used: Counter[str],
    rng: np.random.Generator,
) -> list[int]:
    """`n` of the places, each time one of the owner used least so far; which one is random.

    Args:
        owners: Who owns each row, e.g. its persona.
        places: Rows to choose from, at least `n`.
        n: How many.
        n_used: How often each owner was used; counted on.
        rng: Decides among equals.
    """
    queues: dict[str, list[int]] = defaultdict(list)
    for place in rng.permutation(places):
        queues[owners[place]].append(int(place))
    names = sorted(queues)
    ties = rng.permutation(len(names))
    heap = [(n_used[name], int(tie), name) for name, tie in zip(names, ties, strict=True)]
    heapq.heapify(heap)
    chosen: list[int] = []
    while len(chosen) < n:
        _, tie, name = heapq.heappop(heap)
        chosen.append(queues[name].pop())
        n_used[name] += 1
        if queues[name]:
            heapq.heappush(heap, (n_used[name], tie, name))
    return chosen
