"""Few-shot examples: a task's JSONL of fictional sentences, each with the persona, visit and term it is about."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.errors import ConfigError, Faults, nearest
from harness.schemas.base import Settings
from harness.schemas.task import Task


class Exemplar(Settings):
    label: str
    text: str = Field(min_length=1)
    """One sentence, as a clinician would write it. Fictional, and from no gold set."""
    term: str | None = None
    """The lexicon term it holds, if it was written for one."""
    polarity: Literal["present", "absent"] | None = None
    """Absent: the sentence denies its term."""
    persona: dict[str, Any] = Field(default_factory=dict)
    """Columns of the personas table, e.g. {age_years: 81, sex: female}."""
    stage: str | None = None
    note_type: str | None = None


def load_exemplars(task: Task) -> tuple[Exemplar, ...]:
    """The task's exemplars in the order of their file; none where the task has no such file.

    Raises:
        ConfigError: Lines that are not JSON, unknown keys or labels; all of them, with line numbers.
    """
    path = task.path(task.file.prompts.exemplars)
    return () if path is None else _read(path, task.label_ids)


@cache
def _read(path: Path, labels: tuple[str, ...]) -> tuple[Exemplar, ...]:
    faults = Faults(str(path))
    found: list[Exemplar] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            exemplar = Exemplar.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            faults.add(f"line {number}: not JSON ({error.msg} at character {error.colno})")
            continue
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                faults.add(f"line {number}: {'.'.join(map(str, one['loc']))}: {one['msg']}")
            continue
        if exemplar.label not in labels:
            known = ", ".join(labels)
            faults.add(f"line {number}: label {exemplar.label!r}{nearest(exemplar.label, labels)}; known: {known}")
        found.append(exemplar)
    if faults.messages:
        raise ConfigError(faults.render())
    return tuple(found)
