"""A task: one disease as a folder of YAML and CSV. Another disease needs no Python."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.errors import ConfigError, collect_faults
from harness.label_sets import MAX_SETS, SEPARATOR, LabelSpace
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.shipped import shipped

DEFAULT_AT_MOST = 3  # labels of one sentence where a task of the kind multi does not say
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class Label(Settings):
    id: str = Field(pattern=ID_PATTERN)
    """What tables hold."""
    name: str = Field(min_length=1)
    """What the model reads and writes, e.g. `cognitive impairment`."""
    definition: str = Field(min_length=1)
    """When a sentence gets this label; shown to generators and annotators."""


class LabelSet(Settings):
    kind: Literal["single", "multi"] = "single"
    """single: one label a sentence. multi: a set of them, never empty; the negative label stands alone."""
    at_most: int | None = Field(default=None, ge=2)
    """Of the kind multi: labels of one sentence; 3 where null. Every allowed set is scored, so there may be 256."""
    negative: str | None = None
    """The label of sentences that show none of the others, if the task has one."""
    values: tuple[Label, ...] = Field(min_length=2)
    ties: tuple[str, ...] = ()
    """Which label wins where several fit, first to last; empty: the order of `values`. The negative one comes last."""

    @model_validator(mode="after")
    def consistent(self) -> Self:
        ids = [label.id for label in self.values]
        names = [label.name for label in self.values]
        for what, found in (("id", ids), ("name", names)):
            twice = sorted({one for one in found if found.count(one) > 1})
            if twice:
                raise ValueError(f"label {what}s are given twice: {', '.join(twice)}")
        if self.negative is not None and self.negative not in ids:
            raise ValueError(f"negative is {self.negative!r}; known labels: {', '.join(ids)}")
        self._check_sets()
        wanted = sorted(one for one in ids if one != self.negative)
        if self.ties and sorted(one for one in self.ties if one != self.negative) != wanted:
            raise ValueError(f"ties: found {', '.join(self.ties)}; each of {', '.join(wanted)} must stand there once")
        return self

    def _check_sets(self) -> None:
        if self.kind == "single":
            if self.at_most is not None:
                raise ValueError("at_most is for the kind multi; remove it, or set kind: multi")
            return
        if self.space.n_sets > MAX_SETS:
            raise ValueError(
                f"{len(self.values)} labels, at most {self.space.at_most} a sentence, are {self.space.n_sets} sets; "
                f"allowed: {MAX_SETS}; lower at_most or the number of labels"
            )
        joined = [label.name for label in self.values if SEPARATOR in label.name]
        if joined:
            raise ValueError(f"found {SEPARATOR!r} in {', '.join(map(repr, joined))}; it parts the names of a set")

    @property
    def space(self) -> LabelSpace:
        """Labels and the sets of them that a sentence may show."""
        at_most = 1 if self.kind == "single" else self.at_most or DEFAULT_AT_MOST
        return LabelSpace(tuple(label.id for label in self.values), self.negative, at_most)


class SubgroupVariable(Settings):
    title: str
    """Heading in reports."""
    levels: dict[str, str] = Field(min_length=1)
    """Level id to the words that reports show; the order is the order of rows."""
    prompt: dict[str, str] = Field(default_factory=dict)
    """Level id to the words that a prompt shows; the report's words where a level is not listed."""


class Prompts(Settings):
    classify: str = "classify.jinja"
    """Template of the classifier's prompt; rendered the same for training and for scoring."""
    generate: str = "generate.jinja"
    """Template of the generator's prompt; it shows what the arm sees and nothing else."""
    instruct: str = "instruct.jinja"
    """Template that tells a chat model to write one sentence; no examples."""
    note: str = "note.jinja"
    """Template that tells a model to write one SOAP note."""
    annotate: str = "annotate.jinja"
    """Template of the annotator's prompt: the labels' definitions, the rules, one sentence."""
    exemplars: Path | None = None
    """JSONL of fictional example sentences for few-shot prompts; each shows only what the arm sees."""
    n_shots: int = Field(default=3, ge=0, le=20)


class TaskFile(Settings):
    """What `task.yaml` holds; paths are relative to it."""

    id: str = Field(pattern=ID_PATTERN)
    version: int = Field(ge=1)
    """Raised when labels, prompts or shipped data change; leaderboards compare like with like."""
    title: str
    disease: str
    """As a prompt names it, e.g. `Alzheimer's disease`."""
    labels: LabelSet
    rules: tuple[str, ...] = ()
    """Annotation rules in the order in which they apply."""
    subgroups: dict[str, SubgroupVariable] = Field(default_factory=dict)
    prompts: Prompts = Prompts()
    demo_gold: Path | None = None
    lexicon: Path | None = None
    population: Path | None = None
    trajectory: Path | None = None
    concept_sets: Path | None = None
    """CSV of codes for the disease and each risk factor: set, vocabulary, code, concept_id, name."""
    sources: Path | None = None
    """Where the task's facts come from; linked from the report."""
    caution: str | None = None
    """What a reader of any number from this task must be told, e.g. that the demo gold is fictional."""


class Term(Settings):
    domain: str
    term: str
    frequency: float = Field(default=1.0, gt=0)
    """Relative frequency inside its domain."""


class Task(Settings):
    """A loaded task: the file, its folder and the small tables every stage needs."""

    file: TaskFile
    folder: Path
    lexicon: tuple[Term, ...] = ()

    @property
    def id(self) -> str:
        return self.file.id

    @property
    def labels(self) -> tuple[Label, ...]:
        return self.file.labels.values

    @property
    def label_ids(self) -> tuple[str, ...]:
        return tuple(label.id for label in self.labels)

    @property
    def label_space(self) -> LabelSpace:
        return self.file.labels.space

    @property
    def label_names(self) -> dict[str, str]:
        """Label id to what the model reads and writes."""
        return {label.id: label.name for label in self.labels}

    @property
    def negative(self) -> str | None:
        return self.file.labels.negative

    @property
    def tie_order(self) -> tuple[str, ...]:
        """Label ids, the one that wins first; the negative label last."""
        winning = [one for one in self.file.labels.ties or self.label_ids if one != self.negative]
        return (*winning, *(() if self.negative is None else (self.negative,)))

    def label(self, label_id: str) -> Label:
        return next(label for label in self.labels if label.id == label_id)

    def path(self, relative: Path | None) -> Path | None:
        """A file of this task, or None where the task has none."""
        return None if relative is None else self.folder / relative

    def words(self, variable: str, level: str | None) -> str | None:
        """How a prompt says a level, e.g. `nh_black` -> `Black`; None stays None."""
        if level is None:
            return None
        known = self.file.subgroups.get(variable)
        if known is None:
            return level
        return known.prompt.get(level) or known.levels.get(level, level)

    def files(self) -> list[Path]:
        """Every file that decides a number, for hashing; the demo gold is hashed where it is imported."""
        given = [self.file.lexicon, self.file.population, self.file.trajectory, self.file.prompts.exemplars]
        return [self.folder / "task.yaml", *(self.folder / one for one in given if one is not None)]


def load_task(name: str, *, base: Path) -> Task:
    """A shipped task by name, or a task folder by its path (relative to `base`).

    Raises:
        ConfigError: No such task (the shipped ones are listed), or a fault in one of its files.
    """
    folder = _find(name, base)
    content: dict[str, Any] = read_yaml(folder / "task.yaml")
    file = build(TaskFile, content, str(folder / "task.yaml"))
    named = {
        "demo_gold": file.demo_gold,
        "lexicon": file.lexicon,
        "population": file.population,
        "trajectory": file.trajectory,
        "concept_sets": file.concept_sets,
        "prompts.exemplars": file.prompts.exemplars,
        "sources": file.sources,
    }
    with collect_faults(ConfigError, str(folder / "task.yaml")) as faults:
        for key, path in named.items():
            if path is not None and not (folder / path).is_file():
                faults.add(f"{key}: no file {path} in {folder}")
    lexicon = () if file.lexicon is None else read_lexicon(folder / file.lexicon)
    return Task(file=file, folder=folder, lexicon=lexicon)


def _find(name: str, base: Path) -> Path:
    shipped_tasks = shipped("tasks")
    for folder in ((base / name).resolve(), shipped_tasks / name):
        if (folder / "task.yaml").is_file():
            return folder
    known = sorted(path.parent.name for path in shipped_tasks.glob("*/task.yaml"))
    raise ConfigError(f"task: no task {name!r}; shipped tasks: {', '.join(known)}; or give a folder with a task.yaml")


def read_lexicon(path: Path) -> tuple[Term, ...]:
    """Terms of a `domain,term[,frequency]` CSV.

    Raises:
        ConfigError: A missing column, an empty cell, a term in two domains, or a frequency that is no number above 0,
            each with its row.
    """
    with path.open(encoding="utf-8-sig", newline="") as file, collect_faults(ConfigError, str(path)) as faults:
        reader = csv.DictReader(file)
        missing = {"domain", "term"} - set(reader.fieldnames or ())
        if missing:
            raise ConfigError(f"{path}: missing column {', '.join(sorted(missing))}; found {reader.fieldnames}")
        terms: dict[str, Term] = {}
        for row_number, row in enumerate(reader, start=2):
            domain, term = (row["domain"] or "").strip(), (row["term"] or "").strip()
            frequency = _frequency(row.get("frequency"))
            if not domain or not term:
                faults.add(f"row {row_number}: domain and term must not be empty")
            elif term in terms:
                faults.add(f"row {row_number}: term {term!r} is already in domain {terms[term].domain!r}")
            elif frequency is None:
                faults.add(f"row {row_number}: frequency {row['frequency']!r}; must be a number above 0, or empty")
            else:
                terms[term] = Term(domain=domain, term=term, frequency=frequency)
    return tuple(terms.values())


def _frequency(cell: str | None) -> float | None:
    """1 for an empty cell, None for what is no number above 0."""
    try:
        found = float(cell or 1.0)
    except ValueError:
        return None
    return found if 0 < found < math.inf else None
