"""A recipe: one experiment. What the YAML says, checked in full before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field

from harness.errors import ConfigError, Faults, nearest
from harness.schemas.arms import Annotation, Arm, Sight, Spending
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.cohorts import Cohort, Notes
from harness.schemas.mix import Mix, load_mix
from harness.schemas.recipe_checks import arm_file, check_across, check_facts
from harness.schemas.recipe_parts import (
    Evaluation,
    Fidelity,
    Gold,
    Reporting,
    Scoring,
    Tracking,
    Training,
    TrainingBudget,
)
from harness.schemas.shipped import shipped
from harness.schemas.task import ID_PATTERN, Task, load_task

SPLITS = ("train", "validation", "test")
FINE_TUNED = "llm"  # the learner that is trained; what tables call it
PartT = TypeVar("PartT", bound=Settings | None)


class RecipeFile(Settings):
    """What the YAML holds."""

    name: str | None = Field(default=None, pattern=ID_PATTERN)
    """Folder of the run under runs/; the file's name where null."""
    description: str = ""
    task: str
    seed: int = Field(ge=0)
    gold: Gold = Gold()
    cohort: Cohort | None = None
    """Your own patients as the target of statistical alignment; null: the task's population."""
    notes: Notes | None = None
    """Your own notes as the target of semantic alignment; null: the task's trajectory."""
    arms: dict[Annotated[str, Field(pattern=ID_PATTERN)], Arm] = Field(default_factory=dict)
    annotation: Annotation = Annotation()
    spending: Spending = Spending()
    mixes: tuple[str, ...] = Field(min_length=1)
    """Names in data_mixes/, or paths of mix files."""
    training: Training = Training()
    scoring: Scoring = Scoring()
    evaluation: Evaluation = Evaluation()
    fidelity: Fidelity = Fidelity()
    reporting: Reporting = Reporting()
    tracking: Tracking = Tracking()


class Recipe(Settings):
    """A recipe with its task and mixes loaded and its paths made absolute; what every stage is given."""

    name: str
    path: Path
    file: RecipeFile
    task: Task
    mixes: tuple[Mix, ...]
    proxy: bool = False
    """Cheap learners stand in for fine-tuning: nothing is trained."""

    @property
    def train_seeds(self) -> range:
        """Train seeds of each mix; none where nothing is trained."""
        return range(0 if self.proxy else self.file.training.train_seeds)

    def draws(self, mix: Mix) -> range:
        """Train seeds for which a mix has a table of its own; seed 0 alone where one table, or one run, serves all."""
        return (self.train_seeds or range(1)) if mix.draws_patients else range(1)

    @property
    def learners(self) -> tuple[str, ...]:
        """Who learns every mix; the first is the one that the report is about."""
        return (*(() if self.proxy else (FINE_TUNED,)), *self.file.scoring.baselines)

    @property
    def seed(self) -> int:
        return self.file.seed

    @property
    def arms(self) -> dict[str, Arm]:
        return self.file.arms

    @property
    def used_arms(self) -> tuple[str, ...]:
        """Arms that some mix draws from, in the order of the recipe."""
        return tuple(name for name in self.arms if any(name in mix.origins for mix in self.mixes))

    def shows(self, part: Sight) -> bool:
        """Whether the prompts behind some arm showed this, as far as is known."""
        return any(part in (arm.sight or ()) for arm in self.arms.values())

    def mix(self, name: str) -> Mix:
        for mix in self.mixes:
            if mix.name == name:
                return mix
        known = ", ".join(mix.name for mix in self.mixes)
        raise ConfigError(
            f"{self.path}: no mix {name!r}{nearest(name, [mix.name for mix in self.mixes])}; known: {known}"
        )

    def as_proxy(self, *, with_vectors: bool) -> Recipe:
        """The same experiment with the cheap learners alone, under a name of its own.

        Args:
            with_vectors: Whether sentence vectors are at hand for the better of the two.
        """
        learners = (*(("minilm",) if with_vectors else ()), "tfidf", "majority")
        scoring = self.file.scoring.model_copy(update={"baselines": learners})
        file = self.file.model_copy(update={"scoring": scoring})
        return self.model_copy(update={"name": f"{self.name}-proxy", "file": file, "proxy": True})

    def budget(self, mix: Mix) -> TrainingBudget:
        """What one run of this mix is trained for: the mix's own budget, or the recipe's."""
        own, shared = mix.budget, self.file.training.budget
        return TrainingBudget(unit=own.unit or shared.unit, size=own.size or shared.size)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, its task and its mixes; report every fault of the recipe at once.

    Args:
        path: The YAML file.
        overrides: `a.b=c` strings; values are read as YAML and go through the same schema.

    Raises:
        ConfigError: With all faults, each with its key, what was found and what is allowed.
    """
    content = _with_overrides(read_yaml(path), overrides)
    file = build(RecipeFile, content, str(path))
    base = path.resolve().parent
    task = load_task(file.task, base=base)
    faults = Faults(str(path))
    mixes = _load_mixes(file, base, faults)
    check_across(file, task, mixes, base, faults)
    check_facts(file, task, faults)
    if faults.messages:
        raise ConfigError(faults.render())
    return Recipe(
        name=file.name or path.stem, path=path.resolve(), file=_absolute(file, base, task), task=task, mixes=mixes
    )


def _with_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {override!r}: write key=value, e.g. --set training.train_seeds=3")
        place: Any = content
        *parents, last = key.split(".")
        for parent in parents:
            if not isinstance(place, dict):
                raise ConfigError(f"--set {key}: {parent!r} lies inside a value that is no mapping")
            place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(f"--set {key}: the parent of {last!r} is no mapping")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {key}: {value!r} is not valid YAML") from error
    return content


def _load_mixes(file: RecipeFile, base: Path, faults: Faults) -> tuple[Mix, ...]:
    mixes: list[Mix] = []
    for name in file.mixes:
        path = _find_mix(name, base)
        if path is None:
            known = sorted(one.stem for one in shipped("data_mixes").glob("*.yaml"))
            faults.add(
                f"mixes: no mix {name!r}{nearest(name, known)}; shipped mixes: {', '.join(known)}; or give a path"
            )
            continue
        try:
            mixes.append(load_mix(path))
        except ConfigError as error:
            faults.add(f"mixes: {error}")
    names = [mix.name for mix in mixes]
    faults.extend(f"mixes: two mixes are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1}))
    return tuple(mixes)


def _find_mix(name: str, base: Path) -> Path | None:
    if name.endswith((".yaml", ".yml")):
        path = (base / name).resolve()
        return path if path.is_file() else None
    for folder in (base, base / "data_mixes", base.parent / "data_mixes", shipped("data_mixes")):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    return None


def _absolute(file: RecipeFile, base: Path, task: Task) -> RecipeFile:
    """The same recipe with paths that no longer depend on where the file lies."""
    gold = file.gold
    if gold.path is not None:
        gold = gold.model_copy(update={"path": (base / gold.path).resolve()})
    arms = {name: _absolute_arm(arm, base, task) for name, arm in file.arms.items()}
    return file.model_copy(update={"gold": gold, "arms": arms, **_absolute_parts(file, base)})


def _absolute_parts(file: RecipeFile, base: Path) -> dict[str, Any]:
    return {
        "cohort": _absolute_cohort(file.cohort, base),
        "notes": _resolved(file.notes, base, "path", "diagnoses"),
        "annotation": _resolved(file.annotation, base, "path"),
        "spending": _resolved(file.spending, base, "prices"),
    }


def _absolute_cohort(cohort: Cohort | None, base: Path) -> Cohort | None:
    if cohort is None:
        return None
    cohort = _resolved(cohort, base, "path", "concept_sets")
    return cohort.model_copy(update={"privacy": _resolved(cohort.privacy, base, "ledger")})


def _absolute_arm(arm: Arm, base: Path, task: Task) -> Arm:
    path = None if arm.path is None else arm_file(arm.path, base, task)
    return arm.model_copy(update={"path": path, "annotation": _resolved(arm.annotation, base, "path")})


def _resolved(part: PartT, base: Path, *names: str) -> PartT:
    """A part of the recipe with the paths in these fields made absolute."""
    if part is None:
        return part
    given = {name: (base / getattr(part, name)).resolve() for name in names if getattr(part, name) is not None}
    return part.model_copy(update=given)
