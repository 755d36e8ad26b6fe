"""Prompts from jinja2 templates: the task's own file where it has one of that name, else the one beside this module.

Undefined names are errors, nothing is escaped, and a template is compiled once. Templates may come with somebody else's
task, so they run in jinja2's sandbox.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.errors import ConfigError
from harness.schemas.task import Label, Task

SHARED_TEMPLATES = Path(__file__).resolve().parent


def render_classify(task: Task, text: str) -> str:
    """The classifier's prompt for one sentence; training and scoring both call this, so they cannot differ.

    A template may use `text`, `labels` (each with id, name, definition) and `disease`.

    Raises:
        ConfigError: The task names a template that exists neither in its folder nor here.
    """
    template = load_template(task.folder, task.file.prompts.classify)
    return template.render(text=text, labels=task.labels, disease=task.file.disease)


def completion(label: Label) -> str:
    """What the classifier is taught to write after the prompt, e.g. ` cognitive impairment`."""
    return f" {label.name}"


def template_source(task: Task, name: str) -> str:
    """The text of a template, for the settings of units whose numbers it decides."""
    for folder in (task.folder, SHARED_TEMPLATES):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise ConfigError(f"{task.folder}: no template {name!r} there or in {SHARED_TEMPLATES}")


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
