"""What one mix cost: seconds of training and scoring, tokens and money of its synthetic sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.reports.inputs import LLM, Inputs
from harness.schemas.manifest import Manifest


def costs(inputs: Inputs, mix: str, learner: str) -> dict[str, Any]:
    """Cells of the leaderboard by name; None where a part of the sum is not known."""
    is_llm = learner == LLM
    trained = of_units(inputs, "training", mix) if is_llm else []
    scored = [one for one in of_units(inputs, "scoring", mix) if _learner(one) == learner]
    return {
        "train_seconds": _sum(one.counts.notes.get("train_seconds") for one in trained),
        "gpu_seconds": _sum(one.counts.notes.get("gpu_seconds") for one in trained),
        "scoring_seconds": _sum(one.seconds for one in scored),
        "n_generated_tokens": _generated_tokens(inputs, mix),
        "spent_usd": _spent(inputs, mix),
    }


def of_units(inputs: Inputs, stage: str, name: str) -> list[Manifest]:
    """Manifests of the units `name/...` of a stage."""
    return [one for one in inputs.manifests if one.stage == stage and one.unit.rpartition("/")[0] == name]


def _generated_tokens(inputs: Inputs, mix: str) -> int | None:
    arms = [arm for arm in inputs.recipe.mix(mix).origins if arm in inputs.recipe.arms]
    notes = [one.counts.notes for one in inputs.manifests if one.stage == "generation" and one.unit in arms]
    total = _sum(one.get("n_completion_tokens") for one in notes)
    return None if total is None or len(notes) != len(arms) else int(total)


def _spent(inputs: Inputs, mix: str) -> float | None:
    arms = [arm for arm in inputs.recipe.mix(mix).origins if arm in inputs.recipe.arms]
    return _sum(inputs.spent_usd.get(arm) for arm in arms)


def _learner(manifest: Manifest) -> str:
    """Whose predictions a unit of scoring wrote: `<mix>/seed_<k>` is the fine-tuned model's, else it says."""
    name = manifest.unit.rpartition("/")[2]
    return LLM if name.startswith("seed_") else name


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum; None without values, and as soon as one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return float(sum(known)) if known and len(known) == len(found) else None
