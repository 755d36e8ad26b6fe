"""Predictions of every mix in; metrics, contrasts, calibration, worth and confusion counts out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.errors import DataError, collect_faults
from harness.evaluation.by_subgroup import Row
from harness.evaluation.exchange import exchange_rows, size_of
from harness.evaluation.fidelity import fidelity_units
from harness.evaluation.kinds import KINDS
from harness.evaluation.learners import WITHOUT_CONTRASTS, LearnerRows, look_at_learners, stream
from harness.evaluation.panel import MixRuns, Panel, build_panel, subgroup_levels
from harness.evaluation.predictions import HeldOut, Predicted, check_predictions, held_out_sentences
from harness.evaluation.reliability import reliability_rows, with_temperatures
from harness.evaluation.rows import remarked
from harness.evaluation.ties import patient_count_table, patient_ids, tie_rows
from harness.metrics import METRICS_VERSION
from harness.metrics.counts import confusion
from harness.metrics.uncertainty import MAX_UNDEFINED_SHARE
from harness.metrics.utility import Kind
from harness.schemas.curve_mixes import mixes_of_exchange
from harness.schemas.manifest import Counts
from harness.schemas.recipe import FINE_TUNED
from harness.schemas.square import find_square
from harness.schemas.tables import (
    CONFUSION,
    CONTRASTS,
    EXCHANGE,
    GOLD,
    METRICS,
    PATIENT_COUNTS,
    PREDICTIONS,
    RELIABILITY,
    TEMPERATURES,
    TIES,
    TRAIN,
    TableSpec,
)
from harness.store import Run, Unit, read_table, write_table

log = logging.getLogger(__name__)

BY_SUBGROUP_SPLIT = "test"  # validation is for choosing, so it is looked at overall only
VALIDATION_SPLIT = "validation"
WRITTEN: tuple[TableSpec, ...] = (
    METRICS,
    CONTRASTS,
    CONFUSION,
    RELIABILITY,
    TEMPERATURES,
    PATIENT_COUNTS,
    TIES,
    EXCHANGE,
)


@dataclass
class Tables:
    """Rows as they come up."""

    metrics: list[Row] = field(default_factory=list)
    contrasts: list[Row] = field(default_factory=list)
    confusion: list[Row] = field(default_factory=list)
    reliability: list[Row] = field(default_factory=list)
    temperatures: list[Row] = field(default_factory=list)
    patient_counts: pa.Table = field(default_factory=PATIENT_COUNTS.schema.empty_table)
    ties: list[Row] = field(default_factory=list)
    exchange: list[Row] = field(default_factory=list)


def units(run: Run) -> list[Unit]:
    """One unit over all mixes, because contrasts need them at once, and one of the arms' fidelity."""
    settings = {
        "metrics_version": METRICS_VERSION,
        "evaluation": run.recipe.file.evaluation.model_dump(mode="json", exclude={"prices"}),  # those decide no number
        "labels": list(run.task.label_space.set_ids),
        "levels": _declared_levels(run),
        "mixes": [mix.name for mix in run.recipe.mixes],
        "learners": {
            learner: len(paths) for learner, paths in _prediction_paths(run, run.recipe.mixes[0].name).items()
        },
        "splits": list(run.recipe.file.scoring.splits),
        "square": list((find_square(run.recipe) or {}).values()),
    }
    return [
        Unit(
            stage="evaluation",
            name="",
            inputs=[run.path("cohort", "gold.parquet"), *_all_paths(run), *chain(*_train_paths(run).values())],
            settings=settings,
            seed_path=("evaluation",),
            work=partial(_work, run),
            outputs=tuple(f"{spec.name}.parquet" for spec in WRITTEN),
        ),
        *fidelity_units(run),
    ]


def _work(run: Run, folder: Path) -> Counts:
    settings = run.recipe.file.evaluation
    splits = run.recipe.file.scoring.splits
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
    _check_gold(gold, run)
    levels = subgroup_levels(gold, settings.subgroups, _declared_levels(run))
    held_out = held_out_sentences(gold, splits, run.task.label_ids, _kind(run))
    predictions = _read_predictions(run, held_out)
    tables = Tables()
    notes: dict[str, Any] = {"n_bootstrap": settings.n_bootstrap, "max_undefined_share": MAX_UNDEFINED_SHARE}
    for split in splits:
        in_test = split == BY_SUBGROUP_SPLIT
        panel = build_panel(
            gold, split, label_ids=run.task.label_ids, levels=levels if in_test else {}, kind=_kind(run)
        )
        if not panel.sentence_ids:
            log.warning("evaluation: gold has no %s sentences; leave it out of scoring.splits to silence this", split)
            continue
        runs = _runs_on(split, predictions, held_out)
        if in_test:
            runs = _scaled(runs, predictions, held_out, tables)
        found = look_at_learners(
            panel, runs, settings=settings, root_seed=run.seed, square=find_square(run.recipe) if in_test else None
        )
        chosen_here = _thresholds_chosen(run, split)
        tables.metrics += [remarked(row) if row["learner"] in chosen_here else row
                           for one in found.values() for row in one.metrics]  # fmt: skip
        if in_test:
            tables.contrasts += [row for one in found.values() for row in one.contrasts]
            _add_ties(tables, found, panel, gold=gold, run=run)
            _add_exchange(tables, found, run)
            if panel.kind == "single":  # one label is taken for another; sets of labels are not
                tables.confusion += _confusion_rows(panel, runs)
            for one in (one for mixes in runs.values() for one in mixes):
                tables.reliability += reliability_rows(panel, one, min_patients=settings.min_patients)
            notes["sentences_without_level"] = _without_level(panel, levels)
    return _write(folder, tables, rows_in=len(held_out.sentence_ids) * len(_all_paths(run)), notes=notes)


def _add_ties(tables: Tables, found: Mapping[str, LearnerRows], panel: Panel, *, gold: pa.Table, run: Run) -> None:
    """Counts by patient of every learner, and which entries may be the best among those that compete."""
    patients = patient_ids(gold, panel.split)
    tables.patient_counts = pa.concat_tables(
        patient_count_table(one.overall, panel, learner=learner, patients=patients) for learner, one in found.items()
    )
    competing = {learner: one.overall for learner, one in found.items() if learner not in WITHOUT_CONTRASTS}
    confidence, rng = run.recipe.file.evaluation.confidence, stream(run.seed, "ties", panel.split)
    tables.ties += tie_rows(competing, panel, confidence=confidence, rng=rng)


def _add_exchange(tables: Tables, found: Mapping[str, LearnerRows], run: Run) -> None:
    """What a synthetic sentence is worth in gold, where the recipe has a learning curve."""
    counted = ["origin", "sentence_id"]
    sizes = {
        mix: size_of([read_table(path, TRAIN, columns=counted) for path in draws])
        for mix, draws in _train_paths(run).items()
    }
    confidence = run.recipe.file.evaluation.confidence
    for learner, one in found.items():
        if learner not in WITHOUT_CONTRASTS:
            tables.exchange += exchange_rows(one.overall, sizes, learner=learner, confidence=confidence)


def _runs_on(
    split: str, predictions: Mapping[str, Mapping[str, Sequence[Predicted]]], held_out: HeldOut
) -> dict[str, list[MixRuns]]:
    rows = np.flatnonzero(np.asarray(held_out.split.to_pylist()) == split)
    return {
        learner: [_mix_runs(mix, learner, answers, rows) for mix, answers in by_mix.items()]
        for learner, by_mix in predictions.items()
    }


def _scaled(
    runs: Mapping[str, Sequence[MixRuns]],
    predictions: Mapping[str, Mapping[str, Sequence[Predicted]]],
    held_out: HeldOut,
    tables: Tables,
) -> dict[str, list[MixRuns]]:
    """The runs with scaled probabilities, where there are validation sentences to fit a temperature on."""
    truth = held_out.truth[np.asarray(held_out.split.to_pylist()) == VALIDATION_SPLIT]
    if not len(truth):
        return {learner: list(mixes) for learner, mixes in runs.items()}
    found: dict[str, list[MixRuns]] = {}
    for learner, fitted_on in _runs_on(VALIDATION_SPLIT, predictions, held_out).items():
        for test, validation in zip(runs[learner], fitted_on, strict=True):
            scaled, rows = with_temperatures(test, validation, truth, looking=KINDS[held_out.kind])
            found.setdefault(learner, []).append(scaled)
            tables.temperatures += rows
    return found


def _write(folder: Path, tables: Tables, *, rows_in: int, notes: dict[str, Any]) -> Counts:
    rows_out = 0
    for spec in WRITTEN:
        rows: list[Row] | pa.Table = getattr(tables, spec.name)
        write_table(folder / f"{spec.name}.parquet", rows, spec)
        notes[f"{spec.name}_rows"] = len(rows)
        rows_out += len(rows)
    notes["metrics_without_value"] = sum(row["status"] != "ok" for row in tables.metrics)
    return Counts(rows_in=rows_in, rows_out=rows_out, notes=notes)


def _prediction_paths(run: Run, mix: str) -> dict[str, list[Path]]:
    """Learner to the predictions of each of its train seeds."""
    trained = [run.path("scoring", mix, f"seed_{k}", "predictions.parquet") for k in run.recipe.train_seeds]
    paths = {FINE_TUNED: trained} if trained else {}
    for learner in run.recipe.file.scoring.baselines:
        paths[learner] = [run.path("scoring", mix, learner, "predictions.parquet")]
    return paths


def _all_paths(run: Run) -> list[Path]:
    return [path for mix in run.recipe.mixes for paths in _prediction_paths(run, mix.name).values() for path in paths]


def _train_paths(run: Run) -> dict[str, list[Path]]:
    """Tables in which sentences of the learning curve and of what is read off it are counted, one for each draw."""
    return {mix.name: run.mix_tables(mix) for mix in mixes_of_exchange(run.recipe)}


def _declared_levels(run: Run) -> dict[str, list[str]]:
    return {
        name: list(run.task.file.subgroups[name].levels)
        for name in run.recipe.file.evaluation.subgroups
        if name in run.task.file.subgroups
    }


def _read_predictions(run: Run, held_out: HeldOut) -> dict[str, dict[str, list[Predicted]]]:
    """Learner, mix, train seed; every fault of every file in one error."""
    found: dict[str, dict[str, list[Predicted]]] = {}
    with collect_faults(DataError, str(run.path("scoring"))) as faults:
        for mix in run.recipe.mixes:
            for learner, paths in _prediction_paths(run, mix.name).items():
                for path in paths:
                    where = str(path.relative_to(run.path("scoring")))
                    answer = check_predictions(read_table(path, PREDICTIONS), held_out, faults, where)
                    if answer is not None:
                        found.setdefault(learner, {}).setdefault(mix.name, []).append(answer)
    return found


def _mix_runs(mix: str, learner: str, answers: Sequence[Predicted], rows: NDArray[np.intp]) -> MixRuns:
    return MixRuns(
        mix=mix,
        learner=learner,
        predicted=np.stack([answer.chosen[rows] for answer in answers]),
        probability=np.stack([answer.probability[rows] for answer in answers]),
    )


def _thresholds_chosen(run: Run, split: str) -> set[str]:
    """Learners whose decisions on this split were tuned on it (`harness/scoring/thresholds.py`)."""
    if split != VALIDATION_SPLIT or _kind(run) != "multi":
        return set()
    wrote_labels = {FINE_TUNED} if run.recipe.file.scoring.method == "generate" else set()
    return set(run.recipe.learners) - wrote_labels


def _kind(run: Run) -> Kind:
    return run.task.file.labels.kind


def _check_gold(gold: pa.Table, run: Run) -> None:
    foreign = sorted(set(gold["label"].unique().to_pylist()) - set(run.task.label_space.set_ids))
    if foreign:
        place = run.path("cohort", "gold.parquet")
        raise DataError(f"{place}: found labels {', '.join(foreign)}; the task has {', '.join(run.task.label_ids)}")
    if BY_SUBGROUP_SPLIT not in gold["split"].unique().to_pylist():
        raise DataError(f"{run.path('cohort', 'gold.parquet')}: no test sentences, so there is nothing to evaluate on")


def _confusion_rows(panel: Panel, runs: Mapping[str, Sequence[MixRuns]]) -> Iterator[Row]:
    for learner, mixes in runs.items():
        for one in mixes:
            for seed, predicted in enumerate(one.predicted):
                place = {"mix": one.mix, "learner": learner, "train_seed": str(seed), "split": panel.split}
                cells = confusion(panel.truth, predicted, len(panel.label_ids))
                for (i, k), n in np.ndenumerate(cells):
                    names = {"true_label": panel.label_ids[i], "predicted_label": panel.label_ids[k]}
                    yield place | names | {"n": int(n)}


def _without_level(panel: Panel, levels: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Sentences per variable that stand in no slice because gold does not say their level."""
    return {
        variable: len(panel.sentence_ids) - sum(part.rows.size for part in panel.slices if part.variable == variable)
        for variable in levels
    }
