"""A small finished run, written table by table: invented people, numbers drawn here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from invented_results import LABELS, LEVELS, InventedResults

from harness import seeds
from harness.reports.inputs import Inputs
from harness.schemas.manifest import Counts, Manifest
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe, RecipeFile
from harness.schemas.tables import (
    AUDIT,
    CONFUSION,
    CONTRASTS,
    FIDELITY,
    GOLD,
    GOLD_STATISTICS,
    METRICS,
    REJECTED,
    RELIABILITY,
    SENTENCES,
    SYNTHETIC,
    TEMPERATURES,
    TIES,
    TRAIN,
    TRAINING_LOG,
)
from harness.schemas.task import Task, TaskFile
from harness.store import Run, hash_outputs, write_json, write_table

SEES = {
    "unguided": ["label"],
    "statistical": ["label", "persona"],
    "semantic": ["label", "trajectory"],
    "dualalign": ["label", "persona", "trajectory"],
}
CAUTION = "Every patient here is invented & no figure says <anything> about a real one."
N_PATIENTS = 24


def make_recipe(folder: Path, *, arms: tuple[str, ...], seeds_per_mix: int = 2, **changes: Any) -> Recipe:
    """A recipe with a task and mixes of its own, so that these tests stand apart from what is shipped.

    It is put together from validated parts rather than loaded: the arms see personas and trajectories that nothing here
    ever draws, so the task needs no files for them.
    """
    task = {
        "id": "memoria",
        "version": 3,
        "title": "Signs of memoria",
        "disease": "memoria",
        "labels": {
            "values": [{"id": key, "name": name, "definition": f"says {name}"} for key, name in LABELS.items()],
            "negative": "other",
        },
        "subgroups": {key: {"title": key.capitalize(), "levels": levels} for key, levels in LEVELS.items()},
        "caution": CAUTION,
    }
    mixes: list[dict[str, Any]] = [{"name": "gold", "sources": [{"origin": "gold", "repeat": 1}]}]
    mixes += [
        {"name": f"gold_{arm}", "sources": [{"origin": "gold", "share": 0.5}, {"origin": arm, "share": 0.5}]}
        for arm in arms
    ]
    file: dict[str, Any] = {
        "description": "a run nobody made",
        "task": "memoria",
        "seed": 11,
        "arms": {arm: {"sees": SEES[arm], "n_sentences": 40, "backend": {"kind": "embedded"}} for arm in arms},
        "mixes": [mix["name"] for mix in mixes],
        "training": {"train_seeds": seeds_per_mix, "budget": {"size": 30}, "global_batch_size": 8},
        "evaluation": {"subgroups": list(LEVELS), "n_bootstrap": 500},
        **changes,
    }
    return Recipe(
        name="invented",
        path=folder / "invented.yaml",
        file=RecipeFile.model_validate(file),
        task=Task(file=TaskFile.model_validate(task), folder=folder),
        mixes=tuple(Mix.model_validate(mix) for mix in mixes),
    )


def sentence(place: str, index: int) -> str:
    return f"{place.capitalize()} says in remark {index} that the kettle <boiled> dry & nobody minded."


class FolderBuilder:
    """Writes every table a finished run of `recipe` would hold."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.run = Run(recipe=recipe, folder=folder)
        self.rng = seeds.generator(1, "reports-fixture")
        self.mixes = [mix.name for mix in recipe.mixes]
        self.seeds = [str(k) for k in range(recipe.file.training.train_seeds)]

    def build(self) -> Run:
        self.cohort()
        for arm in self.run.recipe.used_arms:
            self.arm(arm)
        for mix in self.mixes:
            self.mix(mix)
            for seed in self.seeds:
                self.training(mix, seed)
        self.evaluation()
        return self.run

    def evaluation(self) -> None:
        found, folder = InventedResults(self.run.recipe), self.run.path("evaluation")
        write_table(folder / "metrics.parquet", list(found.metrics()), METRICS)
        write_table(folder / "ties.parquet", list(found.ties()), TIES)
        rows = [*found.contrasts(), *(found.effects() if len(self.mixes) == 5 else ())]
        write_table(folder / "contrasts.parquet", rows, CONTRASTS)
        write_table(folder / "confusion.parquet", list(found.confusion()), CONFUSION)
        write_table(folder / "reliability.parquet", list(found.reliability()), RELIABILITY)
        write_table(folder / "temperatures.parquet", list(found.temperatures()), TEMPERATURES)
        if self.run.recipe.used_arms:
            write_table(folder / "fidelity" / "fidelity.parquet", list(found.fidelity()), FIDELITY)

    def cohort(self) -> None:
        def work(folder: Path) -> Counts:
            rows = [
                {
                    "sentence_id": f"s{index:03d}",
                    "patient_id": f"p{index % N_PATIENTS:02d}",
                    "split": ("train", "test", "test", "validation")[index % 4],
                    "text": sentence("gold", index),
                    "label": list(LABELS)[index % len(LABELS)],
                    "sex": ("female", "male")[index % 2],
                }
                for index in range(96)
            ]
            write_table(folder / "gold.parquet", rows, GOLD)
            statistics = [
                {
                    "split": split,
                    "variable": "overall",
                    "level": "all",
                    "label": label,
                    "n_sentences": 12,
                    "n_patients": 8,
                }
                for split in ("train", "validation", "test", "all")
                for label in (*LABELS, "all")
            ]
            write_table(folder / "gold_statistics.parquet", statistics, GOLD_STATISTICS)
            return Counts(rows_in=96, rows_out=96)

        self.unit("cohort", "", work)

    def arm(self, arm: str) -> None:
        def generate(folder: Path) -> Counts:
            rows = [
                {"text_id": f"{arm}-{index}", "unit": "sentence", "planned_label": "memory", "backend": "embedded", "model_id": "toy",
                 "model_revision": "0", "text": sentence(arm, index), "n_attempts": 2}
                for index in range(40)
            ]  # fmt: skip
            write_table(folder / "synthetic.parquet", rows, SYNTHETIC)
            dropped = [{"row_id": f"{arm}-x{index}", "reason": "prompt_echo"} for index in range(5)]
            dropped.append({"row_id": f"{arm}-empty", "reason": "unfilled"})
            write_table(folder / "rejected.parquet", dropped, REJECTED)
            return Counts(rows_in=45, rows_out=40, rejected=5)

        def annotate(folder: Path) -> Counts:
            rows = [
                {"sentence_id": f"{arm}-{index}-0", "text_id": f"{arm}-{index}", "char_start": 0, "char_end": 10,
                 "text": sentence(arm, index), "label": list(LABELS)[index % len(LABELS)], "label_source": "plan"}
                for index in range(40)
            ]  # fmt: skip
            write_table(folder / "sentences.parquet", rows, SENTENCES)
            return Counts(rows_in=40, rows_out=40)

        self.unit("generation", arm, generate)
        self.unit("annotation", arm, annotate)

    def mix(self, mix: str) -> None:
        origins = self.run.recipe.mix(mix).origins

        def work(folder: Path) -> Counts:
            rows = [
                {"example_id": f"{origin}/{index % 20}/{index // 20}", "origin": origin, "sentence_id": f"{origin}{index % 20}",
                 "patient_id": None, "pass_index": index // 20, "text": sentence(origin, index), "label": "memory",
                 "prompt": "Sentence:", "completion": " memory loss", "n_supervised_tokens": 3}
                for origin in origins
                for index in range(240 // len(origins))
            ]  # fmt: skip
            write_table(folder / "train.parquet", rows, TRAIN)
            audit = [
                {
                    "check": "near_duplicate",
                    "origin": origin,
                    "against": "test",
                    "n_checked": 40,
                    "n_found": 1,
                    "n_removed": 1,
                }
                for origin in origins
            ]
            write_table(folder / "audit.parquet", audit, AUDIT)
            return Counts(rows_in=len(rows), rows_out=len(rows))

        self.unit("mixes", mix, work)

    def training(self, mix: str, seed: str) -> None:
        noise = self.rng.normal(scale=0.08, size=30)

        def work(folder: Path) -> Counts:
            rows = [
                {"step": step, "loss": float(1.8 * np.exp(-step / 9) + 0.25 + abs(noise[step - 1])), "learning_rate": 1e-3,
                 "tokens": step * 24, "seconds": step * 0.5}
                for step in range(1, 31)
            ]  # fmt: skip
            write_table(folder / "log.parquet", rows, TRAINING_LOG)
            return Counts(rows_in=240, rows_out=30, notes={"n_updates": 30})

        self.unit("training", f"{mix}/seed_{seed}", work)

    def unit(self, stage_name: str, name: str, work: Callable[[Path], Counts]) -> None:
        folder = self.run.path(stage_name, *filter(None, [name]))
        counts = work(folder)
        manifest = Manifest(
            stage=stage_name,
            unit=name,
            fingerprint=f"{stage_name}-{name}-fingerprint",
            recipe=self.run.recipe.name,
            settings={},
            root_seed=self.run.seed,
            seed_path=(stage_name, *filter(None, [name])),
            inputs={},
            outputs=hash_outputs(folder, skip=()),
            counts=counts,
            versions={"dualalign-harness": "0.1.0", "numpy": "2.0"},
            git_commit="0123abc",
            started="2026-01-02T03:04:05+00:00",
            seconds=12.5,
            peak_rss_mb=345.6,
        )
        write_json(folder / "manifest.json", manifest.model_dump(mode="json"))


def with_diverged(inputs: Inputs, mix: str) -> Inputs:
    """The same run, had the training stage marked train seed 1 of a mix."""

    def marked(manifest: Manifest) -> Manifest:
        if (manifest.stage, manifest.unit) != ("training", f"{mix}/seed_1"):
            return manifest
        notes = {**manifest.counts.notes, "status": "diverged", "reason": "the loss rose"}
        return manifest.model_copy(update={"counts": manifest.counts.model_copy(update={"notes": notes})})

    return replace(inputs, manifests=[marked(one) for one in inputs.manifests])
