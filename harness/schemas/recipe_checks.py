"""Checks of a recipe that need more than one of its parts, its task or the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, Faults, nearest
from harness.schemas.arms import Arm, OpenAIBackend
from harness.schemas.cohorts import Cohort, Notes
from harness.schemas.mix import GOLD_ORIGIN, Mix
from harness.schemas.population import load_population
from harness.schemas.prices import read_prices
from harness.schemas.tables import SUBGROUP_COLUMNS
from harness.schemas.task import Task
from harness.schemas.trajectory import load_trajectory

if TYPE_CHECKING:
    from harness.schemas.recipe import RecipeFile

UNKNOWN_LEVEL = "unknown"  # of a cell that nobody could fill
MIN_NOTE_TOKENS = 128  # four sections with a sentence or two each


def check_across(file: RecipeFile, task: Task, mixes: tuple[Mix, ...], base: Path, faults: Faults) -> None:
    """Add every fault between parts of the recipe, its mixes and the files that it names (relative to `base`)."""
    if GOLD_ORIGIN in file.arms:
        faults.add("arms.gold: `gold` is the human annotations; give this arm another name")
    for mix in mixes:
        faults.extend(_check_mix(mix, file))
    names = [mix.name for mix in mixes]
    reference = file.evaluation.reference_mix
    if mixes and "reference_mix" in file.evaluation.model_fields_set and reference not in names:
        faults.add(
            f"evaluation.reference_mix: no mix {reference!r}{nearest(reference, names)}; known: {', '.join(names)}"
        )
    for name, arm in file.arms.items():
        faults.extend(_check_arm(name, arm, file, task, base))
        if task.label_space.is_multi:
            faults.extend(_check_one_label(name, arm, file))
    faults.extend(_check_prices(file, base))
    if file.gold.path is None and task.file.demo_gold is None:
        faults.add(f"gold.path: missing; the task {task.id!r} has no demo gold")
    elif file.gold.path is not None and not (base / file.gold.path).is_file():
        faults.add(f"gold.path: no file {file.gold.path} (looked in {base})")
    faults.extend(_check_subgroups(file, task))
    if file.cohort is not None:
        faults.extend(_check_cohort(file.cohort, task, base))
    if file.notes is not None:
        faults.extend(_check_notes(file.notes, task, base))
    if file.annotation.path is not None and not (base / file.annotation.path).is_file():
        faults.add(f"annotation.path: no file {file.annotation.path} (looked in {base})")
    if file.training.method == "full" and file.training.lora:
        faults.add("training.lora: given, but training.method is full; remove one of them")


def _check_mix(mix: Mix, file: RecipeFile) -> list[str]:
    """Sources that the recipe has, and a budget whose size is in its own unit."""
    known = [GOLD_ORIGIN, *file.arms]
    found = [
        f"mixes.{mix.name}: origin {origin!r} is no arm of this recipe{nearest(origin, known)}; "
        f"known: {', '.join(known)}"
        for origin in mix.origins
        if origin not in known
    ]
    unit = file.training.budget.unit
    if mix.budget.unit not in (None, unit) and mix.budget.size is None:
        found.append(f"mixes.{mix.name}: budget.unit is {mix.budget.unit} without a size, but the recipe's "
                     f"training.budget counts {unit}; give the mix a budget.size")  # fmt: skip
    return found


def _check_subgroups(file: RecipeFile, task: Task) -> list[str]:
    """Variables that a report is asked for, or whose levels are mapped: gold has no others."""
    declared = task.file.subgroups
    known = list(dict.fromkeys([*SUBGROUP_COLUMNS, *declared]))
    asked = [("evaluation.subgroups", name) for name in file.evaluation.subgroups]
    found = [
        f"{key}: unknown variable {name!r}{nearest(name, known)}; known: {', '.join(known)}; a further one is declared "
        f"under subgroups in {task.folder / 'task.yaml'}"
        for key, name in (*asked, *(("gold.levels", name) for name in file.gold.levels))
        if name not in known
    ]
    for name in (name for name in file.gold.levels if name in declared):
        levels = [*declared[name].levels, UNKNOWN_LEVEL]
        unknown = dict.fromkeys(level for level in file.gold.levels[name].values() if level not in levels)
        found += [f"gold.levels.{name}: unknown level {level!r}{nearest(level, levels)}; allowed: {', '.join(levels)}"
                  for level in unknown]  # fmt: skip
    return found


def _check_notes(notes: Notes, task: Task, base: Path) -> list[str]:
    named = {"path": notes.path, "diagnoses": notes.diagnoses}
    found = [f"notes.{name}: no file {path} (looked in {base})"
             for name, path in named.items() if path is not None and not (base / path).is_file()]  # fmt: skip
    if task.file.trajectory is None or not task.lexicon:
        found.append(f"notes: fitting needs a trajectory and a lexicon; the task {task.id!r} lacks one")
    return found


def _check_cohort(cohort: Cohort, task: Task, base: Path) -> list[str]:
    path, wanted = base / cohort.path, "file" if cohort.kind == "table" else "folder"
    found = []
    if not (path.is_file() if cohort.kind == "table" else path.is_dir()):
        found.append(f"cohort.path: no {wanted} {cohort.path} (looked in {base})")
    if cohort.concept_sets is not None and not (base / cohort.concept_sets).is_file():
        found.append(f"cohort.concept_sets: no file {cohort.concept_sets} (looked in {base})")
    if cohort.kind != "table" and cohort.concept_sets is None and task.file.concept_sets is None:
        found.append(f"cohort.concept_sets: missing; the task {task.id!r} has none of its own")
    return found


def _check_arm(name: str, arm: Arm, file: RecipeFile, task: Task, base: Path) -> list[str]:
    found = []
    if arm.path is not None and arm_file(arm.path, base, task) is None:
        found.append(f"arms.{name}.path: no file {arm.path} (looked in {base} and {task.folder})")
    sees = arm.sees or ()
    if "persona" in sees and task.file.population is None and file.cohort is None:
        found.append(f"arms.{name}.sees: persona needs a population, but the task {task.id!r} has none")
    if "trajectory" in sees and (task.file.trajectory is None or not task.lexicon):
        found.append(f"arms.{name}.sees: trajectory needs a trajectory and a lexicon; the task {task.id!r} lacks one")
    if arm.labels == "trajectory" and task.file.trajectory is None:
        found.append(f"arms.{name}.labels: trajectory, but the task {task.id!r} has none")
    if arm.unit == "note" and arm.sampling.max_new_tokens < MIN_NOTE_TOKENS:
        found.append(f"arms.{name}.sampling.max_new_tokens: found {arm.sampling.max_new_tokens}; a note needs at least "
                     f"{MIN_NOTE_TOKENS}, better 1024")  # fmt: skip
    return found + _check_labelling(name, arm, file, base)


def _check_labelling(name: str, arm: Arm, file: RecipeFile, base: Path) -> list[str]:
    """Who labels an arm's sentences, and whether he can."""
    labels = (arm.annotation or file.annotation).labels
    found = []
    if arm.annotation is not None and arm.annotation.path is not None and not (base / arm.annotation.path).is_file():
        found.append(f"arms.{name}.annotation.path: no file {arm.annotation.path} (looked in {base})")
    if arm.unit == "note" and arm.path is None and "trajectory" not in (arm.sees or ()):
        if labels == "plan":
            found.append(f"arms.{name}.annotation.labels: plan, but nobody knows which sentence of a note shows which "
                         "label where the arm sees no trajectory; use llm or file")  # fmt: skip
        if not arm.n_notes <= arm.n_sentences <= arm.n_notes * arm.max_mentions:
            most = arm.n_notes * arm.max_mentions
            found.append(f"arms.{name}.n_sentences: found {arm.n_sentences}, to be shared out over {arm.n_notes} "
                         f"notes; allowed: {arm.n_notes} to {most} (n_notes x max_mentions)")  # fmt: skip
    return found


def _check_one_label(name: str, arm: Arm, file: RecipeFile) -> list[str]:
    """What gives a sentence one label only, and would call the others absent in a task that has several."""
    labels = (arm.annotation or file.annotation).labels
    found = []
    remedy = "but the task has several (labels.kind: multi); use {}, or an arm from a file with labels such as a;b"
    if labels != "plan":
        found.append(f"arms.{name}: annotation.labels is {labels}, which gives a sentence one label, "
                     f"{remedy.format('plan')}")  # fmt: skip
    if arm.unit == "note":
        found.append(f"arms.{name}.unit: note gives a sentence one label, {remedy.format('sentence')}")
    return found


def _check_prices(file: RecipeFile, base: Path) -> list[str]:
    """The price table, where there is one, has a row for every model behind a server."""
    if file.spending.prices is None:
        return []
    annotations = [file.annotation, *(arm.annotation for arm in file.arms.values())]
    backends = [arm.backend for arm in file.arms.values()] + [one.backend for one in annotations if one is not None]
    try:
        read_prices(base / file.spending.prices, {one.model for one in backends if isinstance(one, OpenAIBackend)})
    except ConfigError as error:
        return [f"spending.prices: {error}"]
    return []


def check_facts(file: RecipeFile, task: Task, faults: Faults) -> None:
    """The task's population and trajectory, where an arm was shown them or draws on them, before anything runs."""
    seen = {part for arm in file.arms.values() for part in arm.sight or ()}
    if any(arm.sees is not None and arm.labels == "trajectory" for arm in file.arms.values()):
        seen.add("trajectory")
    population, trajectory = task.path(task.file.population), task.path(task.file.trajectory)
    try:
        if "persona" in seen and population is not None:
            load_population(population, task)
        if "trajectory" in seen and trajectory is not None and task.lexicon:
            load_trajectory(trajectory, task)
    except ConfigError as error:
        faults.add(str(error))


def arm_file(path: Path, base: Path, task: Task) -> Path | None:
    """Beside the recipe, or in the task's folder, where reference sets are shipped; None where it is in neither."""
    found = ((folder / path).resolve() for folder in (base, task.folder))
    return next((one for one in found if one.is_file()), None)
