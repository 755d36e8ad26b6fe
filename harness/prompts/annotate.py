"""The annotator's prompt for one sentence, and what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from harness.prompts.exemplars import Exemplar, load_exemplars
from harness.prompts.render import load_template
from harness.schemas.task import Task

FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL | re.IGNORECASE)
AnswerFault = Literal["no JSON and no label", "no label in the JSON", "unknown label"]


class Answer(NamedTuple):
    """A label's id, or why there is none."""

    label: str | None
    fault: AnswerFault | None


def render_annotate(task: Task, text: str) -> str:
    """The task's guideline and one sentence; nothing of what the sentence was asked to say can be in it.

    A template may use `disease`, `labels` (each with id, name, definition), `rules`, `examples` (the task's first
    fictional example of each label, with `text` and `label`) and `text`.

    Raises:
        ConfigError: The task names a template that exists neither in its folder nor beside this module.
    """
    template = load_template(task.folder, task.file.prompts.annotate)
    return template.render(
        disease=task.file.disease, labels=task.labels, rules=task.file.rules, examples=_examples(task), text=text
    ).rstrip()


def _examples(task: Task) -> list[Exemplar]:
    first: dict[str, Exemplar] = {}
    for one in load_exemplars(task):
        first.setdefault(one.label, one)
    return [first[label] for label in task.label_ids if label in first]


def answer_schema(task: Task) -> Mapping[str, Any]:
    """JSON schema of an answer, for servers that enforce one."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(task.label_ids)}},
        "required": ["label"],
        "additionalProperties": False,
    }


def parse_answer(text: str, task: Task) -> Answer:
    """The label that an annotator's answer names, strictly.

    An answer is a JSON object with `label`, in a code fence or not, or nothing but a label's id or name. Anything else
    is no answer: a label is never guessed from a longer text. Other keys, such as a confidence that the model claims of
    itself, are passed over.
    """
    fenced = FENCE.match(text.strip())
    plain = fenced[1] if fenced else text.strip()
    try:
        content = json.loads(plain)
    except (ValueError, RecursionError):
        label = _known(plain.strip("\"'` ."), task)
        return Answer(label, None if label else "no JSON and no label")
    found = content.get("label") if isinstance(content, dict) else content
    if not isinstance(found, str):
        return Answer(None, "no label in the JSON")
    label = _known(found, task)
    return Answer(label, None if label else "unknown label")


def _known(word: str, task: Task) -> str | None:
    given = word.strip().lower()
    return next((one.id for one in task.labels if given in (one.id.lower(), one.name.lower())), None)
