"""Which W&B runs a recipe becomes, and what each holds; pure but for the predictions, which are read run by run.

One run of the job type `generate` and one of `evaluate` for the recipe, one of `mix` for each mix, one of `train` and
one of `score` for each mix and train seed. A run is as coarse as it can be while its inputs and outputs still say what
was made from what: with one run for all mixes, W&B's graph would draw gold alone as made from every arm. Baselines have
no run of their own; their values stand in the tables of `evaluate`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from harness.reports import leaderboard, wording
from harness.reports.inputs import LLM, Inputs, LossCurve, Row
from harness.reports.wandb_record import artifacts, files, tables
from harness.reports.wandb_record.artifacts import Artifact, manifest_of
from harness.reports.wandb_record.tables import Table
from harness.store import Run

JobType = Literal["generate", "mix", "train", "score", "evaluate"]

ID_LENGTH = 16  # hexadecimal digits; W&B allows up to 128 characters
TAG_LENGTH = 64  # characters W&B allows
SUMMARY_METRICS = ("macro_f1", "weighted_f1", "accuracy", "exact_match", "ece", "brier")
SAMPLE_COLUMNS = ("arm", "label", "text")


@dataclass(frozen=True)
class Record:
    """What one W&B run holds."""

    id: str
    name: str
    job_type: JobType
    config: Mapping[str, Any]
    tags: tuple[str, ...]
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    curve: LossCurve | None = None
    used: tuple[Artifact, ...] = ()
    made: tuple[Artifact, ...] = ()


def build_records(inputs: Inputs, run: Run) -> Iterator[Record]:
    """Every run of a recipe, in the order in which data flows, one at a time: their predictions need memory."""
    if inputs.arms:
        yield _generate(inputs)
    for mix in inputs.mixes:
        yield _mix(inputs, mix)
    for curve in inputs.curves:
        yield _train(inputs, run, curve)
    scored = [curve for curve in inputs.curves if manifest_of(inputs, "scoring", f"{curve.mix}/seed_{curve.seed}")]
    for curve in scored:
        yield _score(inputs, run, curve)
    yield _evaluate(inputs, scored)


def record_id(inputs: Inputs, job_type: JobType, unit: str, fingerprint: str) -> str:
    """The same work always has the same id, and work that changed has another one.

    A copy in which small cells are withheld is another record too: it must not go on in a run that shows them.
    """
    limit = inputs.recipe.file.reporting.min_patients_shown
    parts = (inputs.recipe.name, job_type, unit, fingerprint, *(() if limit is None else (str(limit),)))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:ID_LENGTH]


# -- the job types ---------------------------------------------------------------------------------


def _generate(inputs: Inputs) -> Record:
    made = tuple(artifacts.synthetic(inputs, arm) for arm in inputs.arms)
    unit = ",".join(inputs.arms)
    arms = {arm: _without_paths(inputs.recipe.arms[arm].model_dump(mode="json")) for arm in inputs.arms}
    summary = {
        f"{arm}/{name}": value
        for arm, counts in inputs.arms.items()
        for name, value in (("accepted", counts.n_accepted), ("labelled", counts.n_labelled))
    }
    return Record(
        id=record_id(inputs, "generate", unit, _digest(made)),
        name="generate",
        job_type="generate",
        config={**_common(inputs), "arms": arms},
        tags=_tags(inputs),
        summary=summary,
        tables=_samples(inputs),
        made=made,
    )


def _mix(inputs: Inputs, mix: str) -> Record:
    made = artifacts.mix(inputs, mix)
    sources = inputs.recipe.mix(mix).origins
    used = tuple(
        artifacts.synthetic(inputs, name) if name in inputs.arms else artifacts.gold(inputs) for name in sources
    )
    audit = ("check", "origin", "against", "n_checked", "n_found", "n_removed")
    return Record(
        id=record_id(inputs, "mix", mix, _digest((made,))),
        name=mix,
        job_type="mix",
        config={**_common(inputs), **_mix_config(inputs, mix)},
        tags=_tags(inputs, mix),
        tables={"audit": tables.table(audit, inputs.audit[mix])} if inputs.audit[mix] else {},
        used=used,
        made=(made,),
    )


def _train(inputs: Inputs, run: Run, curve: LossCurve) -> Record:
    training = inputs.recipe.file.training.model_dump(mode="json")
    training["base_model"] = wording.base_model_name(inputs.recipe)
    training["accelerate_config"] = PurePath(training["accelerate_config"]).name
    fingerprint = _fingerprint(inputs, curve)
    made = [artifacts.adapter(inputs, curve.mix, curve.seed)]
    if inputs.recipe.file.tracking.wandb.log_adapters:
        weights = files.weight_files(run, curve.mix, curve.seed)
        made.append(artifacts.weights(inputs, curve.mix, curve.seed, files=weights))
    return Record(
        id=record_id(inputs, "train", f"{curve.mix}/seed_{curve.seed}", fingerprint),
        name=f"{curve.mix}-seed{curve.seed}",
        job_type="train",
        config={
            **_common(inputs),
            **_mix_config(inputs, curve.mix),
            "train_seed": curve.seed,
            "training": training,
            "training_fingerprint": fingerprint,
        },
        tags=_tags(inputs, curve.mix),
        summary=_scores(inputs, curve) | ({"train/final_loss": curve.losses[-1]} if curve.losses else {}),
        curve=curve,
        used=(artifacts.mix(inputs, curve.mix),),
        made=tuple(made),
    )


def _score(inputs: Inputs, run: Run, curve: LossCurve) -> Record:
    unit = f"{curve.mix}/seed_{curve.seed}"
    manifest = manifest_of(inputs, "scoring", unit)
    by_sentence = tables.prediction_table(_predictions(inputs, run, curve), inputs.split)
    return Record(
        id=record_id(inputs, "score", unit, manifest.fingerprint if manifest else ""),
        name=f"{curve.mix}-seed{curve.seed}-score",
        job_type="score",
        config={
            **_common(inputs),
            "mix": inputs.recipe.mix(curve.mix).model_dump(mode="json", exclude_none=True),
            "train_seed": curve.seed,
            "scoring": inputs.recipe.file.scoring.model_dump(mode="json"),
        },
        tags=_tags(inputs, curve.mix),
        summary=_scores(inputs, curve),
        tables=tables.cell_tables(inputs, curve) | ({"predictions": by_sentence} if by_sentence.rows else {}),
        used=(artifacts.adapter(inputs, curve.mix, curve.seed), artifacts.gold(inputs)),
        made=(artifacts.predictions(inputs, curve.mix, curve.seed),),
    )


def _evaluate(inputs: Inputs, scored: list[LossCurve]) -> Record:
    used = tuple(artifacts.predictions(inputs, one.mix, one.seed) for one in scored)
    gold = artifacts.gold(inputs)
    made = artifacts.metrics(inputs, (*(one.name for one in used), gold.name))
    evaluation = inputs.recipe.file.evaluation.model_dump(mode="json")
    return Record(
        id=record_id(inputs, "evaluate", "", _digest((made,))),
        name="evaluate",
        job_type="evaluate",
        config={**_common(inputs), "evaluation": evaluation},
        tags=_tags(inputs),
        summary=_leaderboard(inputs),
        tables=tables.evaluation_tables(inputs),
        used=(*used, gold),
        made=(made,),
    )


# -- what they hold --------------------------------------------------------------------------------


def _predictions(inputs: Inputs, run: Run, curve: LossCurve) -> Iterable[Row]:
    """Predictions are rows of single patients: none where small cells are withheld."""
    if inputs.recipe.file.reporting.min_patients_shown is not None:
        return ()
    return files.prediction_rows(run, curve.mix, curve.seed)


def _fingerprint(inputs: Inputs, curve: LossCurve) -> str:
    unit = f"{curve.mix}/seed_{curve.seed}"
    manifest = manifest_of(inputs, "training", unit)
    return manifest.fingerprint if manifest else inputs.input_sha256.get(f"05_training/{unit}/log.parquet", "")


def _digest(made: tuple[Artifact, ...]) -> str:
    return hashlib.sha256("\x1f".join(one.contents for one in made).encode()).hexdigest()


def _common(inputs: Inputs) -> dict[str, Any]:
    recipe = inputs.recipe
    return {
        "recipe": recipe.name,
        "task": {"id": recipe.task.id, "version": recipe.task.file.version},
        "root_seed": recipe.seed,
        "git_commit": inputs.git_commit,
        "versions": {name: version for manifest in inputs.manifests for name, version in manifest.versions.items()},
        "test_set_sha256": inputs.test_set_sha256,
        "min_patients_shown": recipe.file.reporting.min_patients_shown,
    }


def _mix_config(inputs: Inputs, mix: str) -> dict[str, Any]:
    composition = inputs.composition[mix]
    return {
        "mix": inputs.recipe.mix(mix).model_dump(mode="json", exclude_none=True),
        "budget": {
            "updates": leaderboard.n_updates(inputs, mix),
            "examples": composition.n_examples,
            "supervised_tokens": composition.n_supervised_tokens,
            "comparison": leaderboard.budget_words(inputs, mix),
        },
    }


def _tags(inputs: Inputs, mix: str | None = None) -> tuple[str, ...]:
    """Recipe, task and base model; of a run that belongs to a mix also the mix, its regime and its origins."""
    recipe = inputs.recipe
    found = [f"recipe:{recipe.name}", f"task:{recipe.task.id}", f"model:{wording.base_model_name(recipe)}"]
    if mix is not None:
        spec = recipe.mix(mix)
        found += [f"mix:{mix}", f"regime:{spec.regime}", *(f"origin:{origin}" for origin in spec.origins)]
    return tuple(tag[:TAG_LENGTH] for tag in found)


def _scores(inputs: Inputs, curve: LossCurve) -> dict[str, float | int | str]:
    """Scores of this seed; intervals and differences are those over all seeds, as evaluation makes them."""
    values: dict[str, float | int | str | None] = {}
    for metric in SUMMARY_METRICS:
        own = inputs.metric(curve.mix, LLM, metric=metric, train_seed=str(curve.seed))
        every = inputs.metric(curve.mix, LLM, metric=metric)
        values[metric] = own["value"] if own else None
        for name, column in (("all_seeds", "value"), ("ci_low", "ci_low"), ("ci_high", "ci_high")):
            values[f"{metric}_{name}"] = every[column] if every else None
    contrast = inputs.contrast(curve.mix, LLM)
    if contrast:
        prefix = f"difference_to_{inputs.reference}"
        values[prefix] = contrast["difference"]
        values |= {f"{prefix}_{column}": contrast[column] for column in ("ci_low", "ci_high", "p_adjusted")}
    return {name: value for name, value in values.items() if value is not None}


def _leaderboard(inputs: Inputs) -> dict[str, float | int | str]:
    """Macro-F1 of every mix and learner, and its difference to the reference; what is undefined is left out."""
    values = {
        f"{row.mix}/{row.learner}/{name}": value
        for row in leaderboard.leaderboard_rows(inputs)
        for name, value in (("macro_f1", row.macro_f1), ("difference", row.difference), ("p_adjusted", row.p_adjusted))
    }
    return {name: value for name, value in values.items() if value is not None}


def _samples(inputs: Inputs) -> dict[str, Table]:
    """Sample sentences of the arms, if the recipe allows text. Gold is never among them."""
    if not inputs.recipe.file.tracking.wandb.log_text:
        return {}
    rows = [{"arm": arm, **row} for arm, found in inputs.samples.items() for row in found]
    return {"sample_sentences": tables.table(SAMPLE_COLUMNS, rows)} if rows else {}


def _without_paths(content: dict[str, Any]) -> dict[str, Any]:
    """Files by their names alone: where they lie is nobody's business but the user's."""
    cut: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            cut[key] = _without_paths(value)
        else:
            is_place = isinstance(value, str) and PurePath(value).is_absolute()
            cut[key] = PurePath(value).name if is_place else value
    return cut
