"""Sets of labels: which ones a sentence may show, and how tables and models spell them.

A task with one label a sentence is the case of sets of one, so that a set's id is then the label's. The negative label
stands for none of the others and never goes together with one, and no set is empty: every sentence has an id, and the
allowed sets are few enough to be scored one by one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

SEPARATOR = ";"  # of label ids in a set's id; no label id holds it
SPOKEN_SEPARATOR = "; "  # of label names in what a model writes
OTHER_SEPARATORS = re.compile(r"[|,/+&]")  # that people join labels with
MAX_SETS = 256  # every sentence is scored against every set
Indicators = NDArray[np.bool_]  # which labels, shape (n_sentences, n_labels)


@dataclass(frozen=True)
class LabelSpace:
    """The labels of a task and the sets of them that a sentence may show.

    Attributes:
        label_ids: In the task's order.
        negative: The label for none of the others, if there is one.
        at_most: Labels of one sentence; 1 where sentences have one label.
    """

    label_ids: tuple[str, ...]
    negative: str | None = None
    at_most: int = 1

    @property
    def is_multi(self) -> bool:
        return self.at_most > 1

    @property
    def n_sets(self) -> int:
        """Number of allowed sets, without listing them."""
        n_others = len(self.label_ids) - (self.negative is not None)
        return len(self.label_ids) + sum(comb(n_others, size) for size in range(2, self.at_most + 1))

    @property
    def sets(self) -> tuple[tuple[str, ...], ...]:
        """Allowed sets, by size and then in the task's order; those of one label come first."""
        return _sets(self)

    @property
    def set_ids(self) -> tuple[str, ...]:
        return tuple(SEPARATOR.join(one) for one in self.sets)

    @property
    def membership(self) -> Indicators:
        """Whether a set holds a label, shape (n_sets, n_labels)."""
        return np.array([[label in one for label in self.label_ids] for one in self.sets], dtype=np.bool_)

    def id_of(self, labels: Sequence[str]) -> str:
        """Id of a set without faults (`faults_of`), whatever the order of its labels."""
        return SEPARATOR.join(label for label in self.label_ids if label in labels)

    def faults_of(self, labels: Sequence[str]) -> list[str]:
        """What keeps some labels of this task from being a set of it; nothing where they are one."""
        found = []
        twice = sorted({one for one in labels if labels.count(one) > 1})
        if not labels:
            found.append("no label; a sentence has at least one")
        if twice:
            found.append(f"{', '.join(twice)} given twice; each label stands once")
        if len(set(labels)) > self.at_most:
            found.append(f"found {len(set(labels))} labels; allowed: at most {self.at_most}")
        elif self.negative in labels and len(set(labels)) > 1:
            found.append(f"{self.negative} stands for none of the others; found it beside another label")
        return found

    def indicators(self, set_ids: Sequence[str]) -> Indicators:
        """Which labels some sets hold, shape (n, n_labels).

        Raises:
            KeyError: An id that is no allowed set.
        """
        place = {one: number for number, one in enumerate(self.set_ids)}
        return self.membership[[place[one] for one in set_ids]].reshape(len(set_ids), len(self.label_ids))


def labels_of(set_id: str) -> list[str]:
    """Label ids of a set's id."""
    return set_id.split(SEPARATOR)


def spoken(set_id: str, names: Mapping[str, str]) -> str:
    """A set as people and models write it, e.g. `falls; pain`."""
    return SPOKEN_SEPARATOR.join(names[label] for label in labels_of(set_id))


def misjoined(word: str, known: Iterable[str]) -> str:
    """Hint for known labels that something else than the separator joins, e.g. falls|pain; empty for another word."""
    parts = [part.strip() for part in OTHER_SEPARATORS.split(word)]
    if len(parts) < 2 or set(parts) - set(known):
        return ""
    return f"; several labels are joined by {SEPARATOR!r}, as in {SEPARATOR.join(parts)}"


def count_by_label(set_ids: Iterable[str]) -> Counter[str]:
    """Sentences that show each label; one with several counts under each."""
    found: Counter[str] = Counter()
    for set_id, n in Counter(set_ids).items():
        for label in labels_of(set_id):
            found[label] += n
    return found


@cache
def _sets(space: LabelSpace) -> tuple[tuple[str, ...], ...]:
    others = [label for label in space.label_ids if label != space.negative]
    larger = [one for size in range(2, space.at_most + 1) for one in combinations(others, size)]
    return (*((label,) for label in space.label_ids), *larger)
