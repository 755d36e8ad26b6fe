"""Prompts from jinja2 templates: the task's own file where it has one of that name, else the one beside this module.

Undefined names are errors, nothing is escaped, and a template is compiled once. Templates may come with somebody else's
task, so they run in jinja2's sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import ConfigError
from harness.label_sets import SPOKEN_SEPARATOR, spoken
from harness.prompts.exemplars import Exemplar
from harness.prompts.sight import Slot, visible
from harness.schemas.arms import Sight
from harness.schemas.task import Task

SHARED_TEMPLATES = Path(__file__).resolve().parent
JINJA_TAG = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)


def render_classify(task: Task, text: str) -> str:
    """The classifier's prompt for one sentence; training and scoring both call this, so they cannot differ.

    A template may use `text`, `labels` (each with id, name, definition), `disease`, and where a sentence may show
    several labels `at_most` (1 where it may not) and the `separator` between their names.

    Raises:
        ConfigError: The task names a template that exists neither in its folder nor here.
    """
    template = load_template(task.folder, task.file.prompts.classify)
    return template.render(
        text=text,
        labels=task.labels,
        disease=task.file.disease,
        at_most=task.label_space.at_most,
        separator=SPOKEN_SEPARATOR,
    )


def completions(task: Task) -> dict[str, str]:
    """What the classifier is taught to write after the prompt, by the id of the set of labels that a sentence shows.

    With one label a sentence that is the label's id, e.g. `memory` -> ` cognitive impairment`; with several their names
    stand in the task's order, e.g. ` falls; pain`.
    """
    return {one: f" {spoken(one, task.label_names)}" for one in task.label_space.set_ids}


def render_generate(task: Task, sight: Collection[Sight], slot: Slot, shots: Sequence[Exemplar]) -> str:
    """The generator's prompt for one sentence; it ends right before the sentence, which ends at a newline.

    A template may use `disease`, `label` (id, name, definition), `slot` (a `View`) and `shots` (each with `text` and
    `view`). Slot and examples pass through `visible` first, so what the arm does not see cannot be in the prompt. An
    example's own text is the one thing that every arm sees.

    Raises:
        ConfigError: The task names a template that exists neither in its folder nor here.
    """
    template = load_template(task.folder, task.file.prompts.generate)
    view = visible(task, slot, sight)
    shown = [{"text": shot.text, "view": visible(task, _planned(shot), sight)} for shot in shots]
    prompt = template.render(disease=task.file.disease, label=view.label, slot=view, shots=shown)
    return prompt.rstrip()


def render_instruct(task: Task, sight: Collection[Sight], slot: Slot) -> str:
    """The task given to a chat model: to write one sentence that shows the slot's label. It holds no examples.

    A template may use `disease` and `slot` (a `View`). Under the sight [label] it shows the label's name and definition
    and the form of a sentence, as the published label-to-data baseline does.

    Raises:
        ConfigError: The task names a template that exists neither in its folder nor here.
    """
    template = load_template(task.folder, task.file.prompts.instruct)
    return template.render(disease=task.file.disease, slot=visible(task, slot, sight)).rstrip()


def _planned(shot: Exemplar) -> Slot:
    return Slot(
        index=0,
        label=shot.label,
        persona=shot.persona or None,
        stage=shot.stage,
        note_type=shot.note_type,
        term=shot.term,
        polarity=shot.polarity,
    )


def template_source(task: Task, name: str) -> str:
    """The text of a template, for the settings of units whose numbers it decides."""
    for folder in (task.folder, SHARED_TEMPLATES):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise ConfigError(f"{task.folder}: no template {name!r} there or in {SHARED_TEMPLATES}")


def template_lines(task: Task, name: str) -> list[str]:
    """The literal lines of a template, without its tags: what a model may parrot whichever branches were rendered."""
    plain = JINJA_TAG.sub(" ", template_source(task, name))
    return [line.strip() for line in plain.splitlines() if line.strip()]


@cache
def load_template(folder: Path, name: str) -> Template:
    """A compiled template of a task; the same object for the rest of the process."""
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader([folder, SHARED_TEMPLATES]),
        undefined=StrictUndefined,
        autoescape=False,  # prompts are plain text
    )
    try:
        return environment.get_template(name)
    except TemplateNotFound as error:
        raise ConfigError(f"{folder}: no template {name!r} there or in {SHARED_TEMPLATES}") from error
