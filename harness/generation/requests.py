"""From slots to requests: each with its prompt, in the arm's own manner, and its seed. Pure."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from harness.backends.base import Request
from harness.prompts.exemplars import Exemplar
from harness.prompts.render import render_generate, render_instruct
from harness.prompts.sight import Slot
from harness.schemas.arms import Sight
from harness.schemas.task import Task
from harness.seeds import integer

Shots = tuple[Exemplar, ...]


class ShotSets:
    """Examples in fixed sets, so that many prompts begin alike and a backend may read that part once.

    A slot's examples have its label and, where its term is shown, its polarity. A slot takes another set at each
    attempt, and never one that holds its own term while another is there: it would invite a copy.
    """

    def __init__(self, exemplars: Sequence[Exemplar], n_shots: int, *, rng: np.random.Generator) -> None:
        shuffled = [exemplars[place] for place in rng.permutation(len(exemplars))]
        self._sets: dict[tuple[str, bool | None], list[Shots]] = {}
        for label in sorted({one.label for one in exemplars}):
            of_label = [one for one in shuffled if one.label == label]
            self._sets[label, None] = _chunks(of_label, n_shots)
            for denied in (False, True):
                fitting = [one for one in of_label if (one.polarity == "absent") == denied]
                self._sets[label, denied] = _chunks(fitting or of_label, n_shots)

    def choose(self, slot: Slot, attempt: int, *, sees_term: bool) -> Shots:
        key = (slot.label, slot.polarity == "absent" if sees_term else None)
        sets = self._sets.get(key, [()])
        other = [one for one in sets if slot.term is None or all(shot.term != slot.term for shot in one)]
        sets = other or sets
        return sets[(slot.index + attempt) % len(sets)]


@dataclass(frozen=True)
class Prompting:
    """How an arm words its prompts.

    Attributes:
        task: Whose templates are rendered.
        sees: What the arm sees.
        shots: Where the examples come from; None where prompts are instructions, which hold none.
    """

    task: Task
    sees: Collection[Sight]
    shots: ShotSets | None

    def examples(self, slot: Slot, attempt: int) -> Shots:
        if self.shots is None:
            return ()
        return self.shots.choose(slot, attempt, sees_term="trajectory" in self.sees)

    def render(self, slot: Slot, examples: Shots) -> str:
        if self.shots is None:
            return render_instruct(self.task, self.sees, slot)
        return render_generate(self.task, self.sees, slot, examples)


def build_requests(
    prompting: Prompting, slots: Sequence[Slot], *, attempt: int, seed_path: tuple[int, str]
) -> list[Request]:
    """One request per slot.

    Args:
        prompting: How prompts are worded.
        slots: Sentences to ask for.
        attempt: From 0; each attempt has its own seed and examples.
        seed_path: The recipe's root seed and the arm's name.
    """
    root, arm = seed_path
    requests: list[Request] = []
    bare: dict[tuple[str, ...], str] = {}  # prompts of slots of which nothing but the label is known
    for slot in slots:
        examples = prompting.examples(slot, attempt)
        prompt = prompting.render(slot, examples)
        key = (slot.label, *(shot.text for shot in examples))
        if key not in bare:
            bare[key] = prompting.render(Slot(index=0, label=slot.label), examples)
        n_alike = len(os.path.commonprefix([prompt, bare[key]]))  # noqa: RUF071 - characters are meant
        seed = integer(root, "generation", arm, str(slot.index), str(attempt))
        requests.append(Request(prompt=prompt, seed=seed, n_shared_chars=prompt.rfind("\n", 0, n_alike) + 1))
    return requests


def _chunks(exemplars: Sequence[Exemplar], n_shots: int) -> list[Shots]:
    """Sets of `n_shots`, the last one filled up from the front; one empty set where none are wanted or given."""
    if not exemplars or n_shots == 0:
        return [()]
    n_shots = min(n_shots, len(exemplars))
    wrapped = [*exemplars, *exemplars[: n_shots - 1]]
    return [tuple(wrapped[start : start + n_shots]) for start in range(0, len(exemplars), n_shots)]
