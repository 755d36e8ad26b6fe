"""A recipe: one experiment. What the YAML says, checked in full before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, field_validator, model_validator

from harness.errors import ConfigError, Faults, nearest
from harness.schemas.arms import Annotation, Arm, OpenAIBackend, Spending
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.cohorts import Cohort, Notes
from harness.schemas.mix import GOLD_ORIGIN, BudgetUnit, Mix, load_mix
from harness.schemas.population import load_population
from harness.schemas.prices import read_prices
from harness.schemas.shipped import shipped
from harness.schemas.task import ID_PATTERN, Task, load_task
from harness.schemas.trainer_fields import LORA_FIELDS, OWNED_SFT_FIELDS, SFT_FIELDS
from harness.schemas.trajectory import load_trajectory

SPLITS = ("train", "validation", "test")
MIN_NOTE_TOKENS = 128  # four sections with a sentence or two each
PartT = TypeVar("PartT", bound=Settings | None)


class SplitShares(Settings):
    train: float = Field(gt=0, lt=1)
    validation: float = Field(ge=0, lt=1)
    test: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test add up to {total:g}; they must add up to 1")
        return self


class Gold(Settings):
    path: Path | None = None
    """JSONL, CSV or Parquet with one annotated sentence a row; null takes the task's demo gold."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column to yours, e.g. {sentence_id: id, text: sentence}; same names need no entry."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Your label to ours, e.g. {MEM: cognitive_impairment}; labels not listed are taken as they are."""
    split: SplitShares | Literal["column"] = SplitShares(train=0.6, validation=0.2, test=0.2)
    """Shares of patients per split; or `column`: the data's own `split` column, which must keep patients whole."""
    deduplicate: bool = False
    """Drop rows whose text and label repeat an earlier row of the same patient; they are kept in rejected.parquet."""


Method = Literal["lora", "qlora", "full"]


class TrainingBudget(Settings):
    unit: BudgetUnit = "updates"
    """updates: optimizer updates, the budget that makes mixes comparable. supervised_tokens: tokens that the loss is
    on, met within one global batch; the updates follow from the mix. epochs: passes over the mix's distinct sentences,
    rounded up to whole updates; mixes of different sizes are then trained for different lengths."""
    size: int = Field(default=100, ge=1)
    """How many of them every run gets, unless its mix says otherwise."""


class Training(Settings):
    base_model: str = "embedded:smollm2-135m"
    """`embedded:smollm2-135m`, a hub id, or a local folder."""
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the frozen base weights; auto: bfloat16 on a GPU that has it, float32 on a CPU."""
    train_seeds: int = Field(default=1, ge=1, le=100)
    """Runs per mix; they differ in data order and adapter initialisation."""
    accelerate_config: str = "cpu"
    """A name in accelerate_configs/ or the path of an accelerate YAML."""
    global_batch_size: int = Field(default=16, ge=1)
    """Examples per optimizer update over all processes; accumulation is derived from it."""
    budget: TrainingBudget = TrainingBudget()
    max_length: int = Field(default=512, ge=8)
    """Tokens per example; a longer one is an error, never cut in silence."""
    allow_dropped: int = Field(default=0, ge=0)
    """Examples of a run that may be left out because they are longer than `max_length` or have nothing to learn from;
    one more is an error. A neighbour from the same source takes the place of each, so the budget is kept."""
    chat: Literal["auto"] | bool = False
    """Whether training and scoring wrap the prompt as a user's turn in the tokenizer's chat template. auto: where it
    has one; true: it must have one; false: the prompt as it is."""
    method: Method = "lora"
    """lora: an adapter on frozen weights; qlora: the same on weights in 4 bits, which needs a GPU and the extra
    `qlora`; full: all weights are trained."""
    lora: dict[str, Any] = Field(default_factory=dict)
    """Fields of peft.LoraConfig."""
    sft: dict[str, Any] = Field(default_factory=dict)
    """Fields of trl.SFTConfig."""

    @field_validator("lora", "sft")
    @classmethod
    def known_fields(cls, given: dict[str, Any], info: Any) -> dict[str, Any]:
        known = SFT_FIELDS if info.field_name == "sft" else LORA_FIELDS
        library = "trl.SFTConfig" if info.field_name == "sft" else "peft.LoraConfig"
        faults = [f"{key!r} is not a field of {library}{nearest(key, known)}" for key in given if key not in known]
        if info.field_name == "sft":
            faults += [f"{key!r} is set by the harness: {why}" for key, why in OWNED_SFT_FIELDS.items() if key in given]
        if faults:
            raise ValueError("; ".join(faults))
        return given


class Scoring(Settings):
    batch_size: int = Field(default=32, ge=1)
    """Sentences whose prompts run in one forward pass."""
    splits: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    baselines: tuple[Literal["tfidf", "majority"], ...] = ("tfidf", "majority")


class Evaluation(Settings):
    subgroups: tuple[str, ...] = ("sex", "age_band", "race_ethnicity", "stage")
    n_bootstrap: int = Field(default=2000, ge=100)
    """Patients are resampled this often; also the number of permutations behind a p-value."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_patients: int = Field(default=5, ge=1)
    """A level with fewer patients is `insufficient`."""
    min_positives: int = Field(default=5, ge=1)
    """A class with fewer true sentences in a level is `insufficient`."""
    reference_mix: str = "gold"
    """The mix that every other one is compared with."""


class Fidelity(Settings):
    """How the arms' fidelity to target and gold is measured."""

    embedding: Literal["auto", "minilm", "tfidf"] = "auto"
    """Vectors for closeness and the Vendi score. minilm: all-MiniLM-L6-v2 from its package; tfidf: hashed words and
    pairs of words, which sees no paraphrase; auto: minilm where the package is installed."""
    max_sentences: int = Field(default=2000, ge=20)
    """Sentences of an arm, and of gold, on which texts are measured, drawn at random: nearest neighbours cost the
    product of both. People and labels are counted over all."""
    diversity_sample: int = Field(default=200, ge=20)
    """Sentences behind diversity and term coverage, the same number for all arms and gold: the smallest set's, if that
    is smaller."""
    near_gold: float = Field(default=0.9, gt=0, le=1)
    """Cosine from which a sentence counts as too near to gold. A convention of our own: by minilm no two sentences of
    different patients of the Alzheimer's demo gold are nearer than 0.83."""
    n_folds: int = Field(default=5, ge=2, le=20)
    """Of the cross-validated classifiers."""


class Wandb(Settings):
    mode: Literal["offline", "online", "disabled"] = "offline"
    """WANDB_MODE overrides this."""
    project: str = "dualalign-harness"
    entity: str | None = None
    log_text: bool = False
    """Allow note text in tables. Leave it off for private data."""


class Tracking(Settings):
    wandb: Wandb = Wandb()


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
    tracking: Tracking = Tracking()


class Recipe(Settings):
    """A recipe with its task and mixes loaded and its paths made absolute; what every stage is given."""

    name: str
    path: Path
    file: RecipeFile
    task: Task
    mixes: tuple[Mix, ...]

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

    def mix(self, name: str) -> Mix:
        for mix in self.mixes:
            if mix.name == name:
                return mix
        known = ", ".join(mix.name for mix in self.mixes)
        raise ConfigError(
            f"{self.path}: no mix {name!r}{nearest(name, [mix.name for mix in self.mixes])} known: {known}"
        )

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
    _check_across(file, task, mixes, base, faults)
    _check_facts(file, task, faults)
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
                f"mixes: no mix {name!r}{nearest(name, known)} shipped mixes: {', '.join(known)}; or give a path"
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


def _check_across(file: RecipeFile, task: Task, mixes: tuple[Mix, ...], base: Path, faults: Faults) -> None:
    """Checks that need more than one part of the recipe."""
    if GOLD_ORIGIN in file.arms:
        faults.add("arms.gold: `gold` is the human annotations; give this arm another name")
    for mix in mixes:
        faults.extend(_check_mix(mix, file))
    names = [mix.name for mix in mixes]
    reference = file.evaluation.reference_mix
    if mixes and "reference_mix" in file.evaluation.model_fields_set and reference not in names:
        faults.add(
            f"evaluation.reference_mix: no mix {reference!r}{nearest(reference, names)} known: {', '.join(names)}"
        )
    for name, arm in file.arms.items():
        faults.extend(_check_arm(name, arm, file, task, base))
    faults.extend(_check_prices(file, base))
    if file.gold.path is None and task.file.demo_gold is None:
        faults.add(f"gold.path: missing; the task {task.id!r} has no demo gold")
    elif file.gold.path is not None and not (base / file.gold.path).is_file():
        faults.add(f"gold.path: no file {file.gold.path} (looked in {base})")
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
        f"mixes.{mix.name}: origin {origin!r} is no arm of this recipe{nearest(origin, known)} "
        f"known: {', '.join(known)}"
        for origin in mix.origins
        if origin not in known
    ]
    unit = file.training.budget.unit
    if mix.budget.unit not in (None, unit) and mix.budget.size is None:
        found.append(f"mixes.{mix.name}: budget.unit is {mix.budget.unit} without a size, but the recipe's "
                     f"training.budget counts {unit}; give the mix a budget.size")  # fmt: skip
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
    if arm.path is not None and _arm_file(arm.path, base, task) is None:
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


def _check_facts(file: RecipeFile, task: Task, faults: Faults) -> None:
    """The task's population and trajectory, where an arm draws on them: a fault there is found before anything runs."""
    seen = {part for arm in file.arms.values() for part in arm.sees or ()}
    population, trajectory = task.path(task.file.population), task.path(task.file.trajectory)
    try:
        if "persona" in seen and population is not None:
            load_population(population, task)
        if "trajectory" in seen and trajectory is not None and task.lexicon:
            load_trajectory(trajectory, task)
    except ConfigError as error:
        faults.add(str(error))


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
    path = None if arm.path is None else _arm_file(arm.path, base, task)
    return arm.model_copy(update={"path": path, "annotation": _resolved(arm.annotation, base, "path")})


def _arm_file(path: Path, base: Path, task: Task) -> Path | None:
    """Beside the recipe, or in the task's folder, where reference sets are shipped; None where it is in neither."""
    found = ((folder / path).resolve() for folder in (base, task.folder))
    return next((one for one in found if one.is_file()), None)


def _resolved(part: PartT, base: Path, *names: str) -> PartT:
    """A part of the recipe with the paths in these fields made absolute."""
    if part is None:
        return part
    given = {name: (base / getattr(part, name)).resolve() for name in names if getattr(part, name) is not None}
    return part.model_copy(update=given)
