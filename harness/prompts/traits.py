"""A persona in words. The task says how its subgroup levels read, its population how everything else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from harness.schemas.base import read_yaml
from harness.schemas.task import Task

MAX_RISK_FACTORS = 2  # a persona may carry a dozen; more than two crowd the rest out of a short prompt
UNINFORMATIVE = ("other", "unknown", "")
# Columns of the personas table that are no trait to tell: keys, and what another column says better.
NO_TRAITS = ("persona_id", "cell_id", "age_band", "risk_factors")


@dataclass(frozen=True)
class Wording:
    """How a prompt says what the task itself has no words for."""

    levels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Variable to level to words."""
    risk_factors: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()
    """Factors that another trait tells already: `low_education` beside the education itself."""


def persona_traits(task: Task, persona: Mapping[str, Any], index: int) -> tuple[str, ...]:
    """Words about a persona: age and sex first, then subgroup variables, other demographics and two risk factors.

    Which two goes round with `index`, the text's place in its arm: over many texts every factor a persona carries is
    shown about equally often, so that what prompts show follows what the personas carry.
    """
    wording = persona_wording(task)
    told = dict(persona)
    age, sex = told.pop("age_years", None), told.pop("sex", None)
    words = [
        " ".join(part for part in (f"{age}-year-old" if age is not None else "", _level(task, "sex", sex)) if part)
    ]
    for variable, level in sorted(told.items(), key=lambda item: (item[0] not in task.file.subgroups, item[0])):
        if variable not in NO_TRAITS and level is not None and level not in UNINFORMATIVE:
            given = wording.levels.get(variable, {}).get(str(level))
            words.append(given or _level(task, variable, level))
    carried = [factor for factor in told.get("risk_factors") or () if factor not in wording.repeated]
    factors = _in_turn(carried, index)
    words += [wording.risk_factors.get(factor) or plain(factor) for factor in factors]
    return tuple(word for word in words if word)


def plain(level: str) -> str:
    return level.replace("_", " ")


def _in_turn(factors: Sequence[str], index: int) -> list[str]:
    if len(factors) <= MAX_RISK_FACTORS:
        return list(factors)
    return [factors[(index * MAX_RISK_FACTORS + step) % len(factors)] for step in range(MAX_RISK_FACTORS)]


def _level(task: Task, variable: str, level: object) -> str:
    if level is None:
        return ""
    words = task.words(variable, str(level)) or ""
    return words if words != level else plain(words)


def persona_wording(task: Task) -> Wording:
    """The words of the task's population file; none where it has no such file."""
    path = task.path(task.file.population)
    return Wording() if path is None else _read(path)


@cache
def _read(path: Path) -> Wording:
    """Only the words are taken here; the population is checked in full where it is drawn from."""
    content = read_yaml(path)
    named = {name: factor.get("name") for name, factor in (content.get("risk_factors") or {}).items()}
    return Wording(
        levels=content.get("prompt") or {},
        risk_factors={name: words for name, words in named.items() if words},
        repeated=tuple(rule["factor"] for rule in (content.get("risk_rules") or {}).get("same_as", ())),
    )
