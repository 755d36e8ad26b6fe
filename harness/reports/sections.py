"""What each section of the report page shows: plain values for the templates, and the rows behind each download."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from harness.reports import plots, wording
from harness.reports.ablation import acceptance_words
from harness.reports.inputs import ALL, OVERALL, Inputs, Row
from harness.reports.leaderboard import to_csv
from harness.schemas.recipe import SPLITS

COMMON = ",/:;()"  # in tables, and allowed in an address as they are: three times shorter than escaped
CONFUSION_COLUMNS = ("mix", "learner", "true_label", "predicted_label", "n", "row_share")
STATISTICS_COLUMNS = ("split", "variable", "level", "label", "n_sentences", "n_patients")
AUDIT_COLUMNS = ("mix", "check", "origin", "against", "n_checked", "n_found", "n_removed")


def data_uri(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A CSV as a link that needs no server."""
    return "data:text/csv;charset=utf-8," + quote(to_csv(columns, rows), safe=COMMON)


@dataclass(frozen=True)
class Download:
    name: str
    uri: str


def download(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Download:
    return Download(name=f"{name}.csv", uri=data_uri(columns, rows))


# -- confusion -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfusionMatrix:
    mix: str
    n_seeds: int
    rows: tuple[tuple[str, int | None, tuple[tuple[int | None, float | None], ...]], ...]
    """True label, its total, and per predicted label the count and its share of the row (None in an empty row). All are
    None where the class is withheld."""


def confusion_matrices(inputs: Inputs, learner: str) -> list[ConfusionMatrix]:
    """Counts summed over train seeds, one matrix per mix; mixes without counts are left out."""
    labels = inputs.recipe.task.label_ids
    matrices = []
    for mix in inputs.mixes:
        found = [row for row in inputs.confusion if row["mix"] == mix and row["learner"] == learner]
        per_seed = [row for row in found if row["train_seed"] != ALL] or found
        if not per_seed:
            continue
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for row in per_seed:
            counts[row["true_label"], row["predicted_label"]] += row["n"] or 0
        withheld = {row["true_label"] for row in per_seed if row["n"] is None}
        rows: list[tuple[str, int | None, tuple[tuple[int | None, float | None], ...]]] = []
        for true in labels:
            if true in withheld:
                rows.append((true, None, tuple((None, None) for _ in labels)))
                continue
            line = [counts[true, predicted] for predicted in labels]
            total = sum(line)
            rows.append((true, total, tuple((n, n / total if total else None) for n in line)))
        matrices.append(ConfusionMatrix(mix, len({row["train_seed"] for row in per_seed}), tuple(rows)))
    return matrices


def confusion_download(inputs: Inputs, learner: str, matrices: Sequence[ConfusionMatrix]) -> Download:
    labels = inputs.recipe.task.label_ids
    rows = [
        dict(zip(CONFUSION_COLUMNS, (matrix.mix, learner, true, predicted, n, share), strict=True))
        for matrix in matrices
        for true, _, line in matrix.rows
        for predicted, (n, share) in zip(labels, line, strict=True)
    ]
    told = [{**row, "n": wording.SUPPRESSED if row["n"] is None else row["n"]} for row in rows]
    return download(f"confusion_{learner}", CONFUSION_COLUMNS, told)


# -- training, arms, data, cost --------------------------------------------------------------------


def loss_section(inputs: Inputs) -> dict[str, Any]:
    panels = plots.loss_panels(
        [(curve.mix, curve.seed, curve.steps, curve.losses) for curve in inputs.curves], inputs.mixes
    )
    columns = ("mix", "train_seed", "step", "loss", "learning_rate", "tokens")
    rows = [
        dict(zip(columns, (curve.mix, curve.seed, *point), strict=True))
        for curve in inputs.curves
        for point in zip(curve.steps, curve.losses, curve.learning_rates, curve.tokens, strict=True)
    ]
    return {"panels": panels, "download": download("loss", columns, rows)}


def arm_section(inputs: Inputs) -> dict[str, Any]:
    arms = []
    for name, counts in inputs.arms.items():
        arm = inputs.recipe.arms[name]
        arms.append(
            {
                "name": name,
                "kind": wording.arm_kind(arm),
                "counts": counts,
                "acceptance": acceptance_words(counts.n_accepted, counts.n_attempts),
                "samples": [
                    {"text": row["text"], "label": wording.label_name(inputs.recipe, row["label"])}
                    for row in inputs.samples.get(name, ())
                ],
                "labels": [(label.name, counts.n_by_label.get(label.id, 0)) for label in inputs.recipe.task.labels],
            }
        )
    reasons = [
        {"arm": name, "reason": reason, "n": n}
        for name, counts in inputs.arms.items()
        for reason, n in counts.rejected.items()
    ]
    return {"arms": arms, "download": download("rejected", ("arm", "reason", "n"), reasons)}


def data_section(inputs: Inputs) -> dict[str, Any]:
    """Gold by split and label, what each mix is made of, and its audit."""
    statistics = inputs.gold_statistics
    overall = [row for row in statistics if row["variable"] == OVERALL]
    by_split: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in overall:
        by_split[row["split"]][row["label"]] = row
    gold = [
        {"split": wording.SPLIT_NAMES.get(split, "together"), "total": labels.get(ALL),
         "cells": [labels.get(label.id) for label in inputs.recipe.task.labels]}
        for split in (*SPLITS, ALL) if (labels := by_split.get(split))
    ]  # fmt: skip
    audit = [{"mix": mix, **row} for mix, rows in inputs.audit.items() for row in rows]
    return {
        "gold": gold,
        "gold_download": download("gold_statistics", STATISTICS_COLUMNS, _told(statistics)),
        "audit": audit,
        "audit_download": download("audit", AUDIT_COLUMNS, _told(audit)),
    }  # fmt: skip


def _told(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Counts as they are; one that is missing was withheld."""
    return [{name: wording.SUPPRESSED if value is None else value for name, value in row.items()} for row in rows]


def cost_section(inputs: Inputs) -> dict[str, Any]:
    """Seconds and peak memory of each stage, and of each unit below it."""
    stages: dict[str, dict[str, Any]] = {}
    for manifest in inputs.manifests:
        stage = stages.setdefault(manifest.stage, {"name": manifest.stage, "n_units": 0, "seconds": 0.0, "peak": 0.0,
                                                   "rows_out": 0, "rejected": 0})  # fmt: skip
        stage["n_units"] += 1
        stage["seconds"] += manifest.seconds
        stage["peak"] = max(stage["peak"], manifest.peak_rss_mb)
        for name in ("rows_out", "rejected"):  # None: withheld
            known = None not in (stage[name], getattr(manifest.counts, name))
            stage[name] = stage[name] + getattr(manifest.counts, name) if known else None
    columns = ("stage", "unit", "rows_in", "rows_out", "rejected", "seconds", "peak_rss_mb", "seed_path", "fingerprint",
               "started")  # fmt: skip
    units = [
        {**manifest.model_dump(include={"stage", "unit", "seconds", "peak_rss_mb", "fingerprint", "started"}),
         **manifest.counts.model_dump(include={"rows_in", "rows_out", "rejected"}),
         "seed_path": "/".join((str(manifest.root_seed), *manifest.seed_path))}
        for manifest in inputs.manifests
    ]  # fmt: skip
    return {
        "stages": list(stages.values()),
        "units": units,
        "total_seconds": sum(manifest.seconds for manifest in inputs.manifests),
        "peak": max((manifest.peak_rss_mb for manifest in inputs.manifests), default=0.0),
        "download": download("cost", columns, units),
    }
