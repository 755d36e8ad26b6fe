"""What evaluation would have found in the invented run: numbers drawn here, of nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness import seeds
from harness.schemas.recipe import Recipe

LABELS = {"memory": "memory loss", "function": "functional impairment", "worry": "concern by others", "other": "other"}
LEVELS = {"sex": {"female": "Female", "male": "Male"}, "stage": {"mild": "Mild", "severe": "Severe"}}
LEARNERS = ("llm", "tfidf", "majority")
BASE = {"llm": 0.58, "tfidf": 0.55, "majority": 0.09}
# What each arm adds to macro-F1 in the invented run.
ADDS = {"gold": 0.0, "gold_unguided": 0.01, "gold_statistical": 0.03, "gold_semantic": 0.04, "gold_dualalign": 0.08}
CALIBRATION = {"ece": 0.12, "ece_scaled": 0.05, "brier": 0.5, "brier_scaled": 0.46}


class InventedResults:
    """Rows of every table that evaluation writes, for the mixes, arms and train seeds of a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.rng = seeds.generator(1, "reports-fixture")
        self.mixes = [mix.name for mix in recipe.mixes]
        self.seeds = [str(k) for k in range(recipe.file.training.train_seeds)]

    def places(self) -> Iterator[tuple[str, str, str, str]]:
        """(metric, class, variable, level) of every value."""
        for metric in ("macro_f1", "weighted_f1", "accuracy"):
            yield metric, "all", "overall", "all"
            for variable, levels in LEVELS.items():
                for level in levels:
                    yield metric, "all", variable, level
        for variable in LEVELS:
            yield "macro_f1_gap", "all", variable, "gap"
        for metric in CALIBRATION:
            yield metric, "all", "overall", "all"
            for variable, levels in LEVELS.items():
                for level in levels:
                    yield metric, "all", variable, level
        for metric in ("precision", "recall", "f1", "auroc"):
            for label in LABELS:
                yield metric, label, "overall", "all"

    def metrics(self) -> Iterator[dict[str, Any]]:
        for mix in self.mixes:
            for learner in LEARNERS:
                for place in self.places():
                    for seed in ("all", *(self.seeds if learner == "llm" else ())):
                        yield self.metric(mix, learner, seed, place)

    def metric(self, mix: str, learner: str, seed: str, place: tuple[str, str, str, str]) -> dict[str, Any]:
        metric, label, variable, level = place
        row: dict[str, Any] = {"mix": mix, "learner": learner, "train_seed": seed, "split": "test", "metric": metric,
                               "class": label, "subgroup_variable": variable, "subgroup_level": level, "n": 48,
                               "n_positive": 12, "n_patients": 12}  # fmt: skip
        if level == "severe":
            return {
                **row,
                "n": 3,
                "n_patients": 2,
                "status": "insufficient",
                "reason": "2 patients; at least 5 are needed",
            }
        if metric == "macro_f1_gap":
            return {
                **row,
                "value": 0.05,
                "ci_low": -0.02,
                "ci_high": 0.12,
                "status": "ok",
                "reason": "best: male; worst: female",
            }
        if metric in CALIBRATION:
            value = CALIBRATION[metric]
            return {**row, "value": value, "ci_low": value / 2, "ci_high": 1.5 * value, "status": "ok"}
        spread = 0.0 if learner == "majority" else float(self.rng.normal(scale=0.02))
        value = min(0.97, max(0.02, BASE[learner] + (ADDS[mix] if learner == "llm" else 0.0) + spread))
        half = 0.06 if variable == "overall" else 0.11
        return {**row, "value": value, "ci_low": value - half, "ci_high": value + half, "status": "ok"}

    def ties(self) -> Iterator[dict[str, Any]]:
        """The last mix is first; those within 0.05 of it in ADDS are tied. Baselines are out, and the floor is not there."""
        best = max(ADDS[mix] for mix in self.mixes)
        for mix in self.mixes:
            short = best - ADDS[mix]
            for learner, behind in (("llm", short), ("tfidf", short + 0.1)):
                yield {
                    "mix": mix,
                    "learner": learner,
                    "split": "test",
                    "value": BASE["llm"] + best - behind,
                    "shortfall": behind,
                    "shortfall_high": behind + 0.05,
                    "tied": behind < 0.05,
                    "n_compared": 2 * len(self.mixes),
                    "status": "ok",
                }

    def contrasts(self) -> Iterator[dict[str, Any]]:
        for mix in self.mixes[1:]:
            for learner in LEARNERS:
                for metric, label, variable, level in self.places():
                    if metric not in ("macro_f1", "f1"):
                        continue
                    row: dict[str, Any] = {
                        "mix_a": mix, "mix_b": "gold", "learner": learner, "metric": metric, "class": label,
                        "subgroup_variable": variable, "subgroup_level": level, "n_patients": 12, "n_train_seeds": 2,
                    }  # fmt: skip
                    if level == "severe":
                        yield {**row, "status": "insufficient", "reason": "2 patients; at least 5 are needed"}
                        continue
                    difference = (ADDS[mix] if learner == "llm" else 0.0) + float(self.rng.normal(scale=0.01))
                    p = 0.004 if mix == "gold_dualalign" and learner == "llm" else 0.41
                    yield {**row, "difference": difference, "ci_low": difference - 0.05, "ci_high": difference + 0.05,
                           "detectable": 0.07 if variable == "overall" else 0.14,
                           "p_value": p / 2, "p_adjusted": p, "family": f"holm:{metric} overall, {learner} (2 tests)",
                           "status": "ok"}  # fmt: skip
                for variable, levels in LEVELS.items():
                    yield self.interaction(mix, learner, variable, list(levels))

    def interaction(self, mix: str, learner: str, variable: str, levels: list[str]) -> dict[str, Any]:
        """Between the levels of sex the gain differs for one mix; the stage has one level with enough patients."""
        row: dict[str, Any] = {
            "mix_a": mix, "mix_b": "gold", "learner": learner, "metric": "macro_f1", "class": "all",
            "subgroup_variable": variable, "subgroup_level": "(interaction)", "n_patients": 12, "n_train_seeds": 2,
        }  # fmt: skip
        if variable == "stage":
            return {
                **row,
                "status": "insufficient",
                "reason": "1 of 2 levels have enough patients; a comparison needs 2",
            }
        p, reach = (0.02, 0.05) if mix == "gold_dualalign" and learner == "llm" else (0.7, 0.16)
        return {**row, "difference": 0.09, "ci_low": 0.09 - reach, "ci_high": 0.09 + reach, "detectable": 0.2, "p_value": p / 2,
                "p_adjusted": p, "family": f"holm:macro_f1, whether the gain differs between subgroup levels, {learner} (4 tests)",
                "status": "ok", "reason": f"largest gain: {levels[0]}; smallest: {levels[1]}"}  # fmt: skip

    def effects(self) -> Iterator[dict[str, Any]]:
        """The 2 x 2 of alignments, of the fine-tuned model: overall, by class and by sex."""
        found = {
            "(statistical)": (0.03, 0.02, 0.012),
            "(semantic)": (0.04, 0.03, 0.012),
            "(interaction)": (0.01, 0.04, 0.62),
        }
        places = [("macro_f1", "all", "overall", "all"), *(("f1", label, "overall", "all") for label in LABELS)]
        places += [("macro_f1", "all", "sex", level) for level in LEVELS["sex"]]
        for metric, label, variable, level in places:
            for effect, (difference, reach, p) in found.items():
                yield {
                    "mix_a": effect, "mix_b": "(2 x 2)", "learner": "llm", "metric": metric, "class": label,
                    "subgroup_variable": variable, "subgroup_level": level, "n_patients": 12, "n_train_seeds": 2,
                    "difference": difference, "ci_low": difference - reach, "ci_high": difference + reach, "p_value": p,
                    "p_adjusted": p, "family": "holm:2 x 2, llm (3 tests)", "status": "ok",
                }  # fmt: skip

    def reliability(self) -> Iterator[dict[str, Any]]:
        """Five bins of a model that is too sure of itself as scored, and less so scaled."""
        slices = [("overall", "all"), *(("sex", level) for level in LEVELS["sex"]), ("stage", "mild")]
        for mix in self.mixes:
            for learner in LEARNERS:
                for seed in self.seeds if learner == "llm" else ("0",):
                    for kind, excess in (("as_scored", 0.15), ("scaled", 0.05)):
                        for variable, level in slices:
                            for bin_index in range(5):
                                confidence = 0.35 + 0.13 * bin_index
                                right = confidence - excess + float(self.rng.normal(scale=0.03))
                                yield {"mix": mix, "learner": learner, "train_seed": seed, "probability": kind,
                                       "subgroup_variable": variable, "subgroup_level": level, "bin": bin_index,
                                       "n": 9 + bin_index % 2, "confidence": confidence, "right": right}  # fmt: skip

    def temperatures(self) -> Iterator[dict[str, Any]]:
        for mix in self.mixes:
            for learner in LEARNERS:
                for seed in self.seeds if learner == "llm" else ("0",):
                    yield {"mix": mix, "learner": learner, "train_seed": seed, "temperature": 1.4, "n_validation": 24,
                           "log_loss": 0.9, "log_loss_scaled": 0.8}  # fmt: skip

    def confusion(self) -> Iterator[dict[str, Any]]:
        for mix in self.mixes:
            for learner in LEARNERS:
                for seed in self.seeds if learner == "llm" else ("all",):
                    for true in LABELS:
                        for predicted in LABELS:
                            n = int(self.rng.integers(7, 11)) if true == predicted else int(self.rng.integers(0, 3))
                            yield {"mix": mix, "learner": learner, "train_seed": seed, "split": "test", "true_label": true,
                                   "predicted_label": predicted, "n": n}  # fmt: skip

    def fidelity(self) -> Iterator[dict[str, Any]]:
        """Of every part of the section something, with arms that show no persona and no stage."""
        arms = self.recipe.arms
        for arm in ("gold", "(plan)", *self.recipe.used_arms):
            sees = ["persona", "trajectory"] if arm in ("gold", "(plan)") else arms[arm].sees or ()
            for measure, variable, level, target, mark in fidelity_places():
                if arm == "(plan)" and measure not in FIDELITY_OF_PLAN:
                    continue
                row = {
                    "arm": arm,
                    "measure": measure,
                    "variable": variable,
                    "level": level,
                    "target": target,
                    "mark": mark,
                }
                part = FIDELITY_NEEDS.get((measure, variable), FIDELITY_NEEDS.get((measure, None)))
                if part is not None and part not in sees:
                    yield {**row, "n": 0, "status": "undefined", "reason": f"the arm shows no {part}"}
                    continue
                value = min(1.0, max(0.0, (target or 0.0) + abs(float(self.rng.normal(scale=0.06)))))
                yield {**row, "value": value, "n": 40, "status": "ok"}


FIDELITY_OF_PLAN = ("margin_share", "margin_tv", "domain_share", "domain_tv", "onset_years", "onset_tau")
FIDELITY_NEEDS = {
    ("margin_tv", "sex"): "persona", ("margin_share", "sex"): "persona", ("margin_tv", "stage"): "trajectory",
    ("margin_share", "stage"): "trajectory", ("prevalence", None): "persona", ("prevalence_error", None): "persona",
    ("domain_share", None): "trajectory", ("domain_tv", None): "trajectory", ("onset_years", None): "trajectory",
    ("onset_tau", None): "trajectory",
}  # fmt: skip


def fidelity_places() -> Iterator[tuple[str, str, str, float | None, str | None]]:
    """Measure, variable, level, target and mark of the invented fidelity rows."""
    for variable, levels in LEVELS.items():
        yield "margin_tv", variable, "all", 0.0, "assumed"
        for level, share in zip(levels, (0.6, 0.4), strict=True):
            yield "margin_share", variable, level, share, "assumed" if variable == "stage" else "published"
    yield "prevalence_error", "risk_factors", "mean", 0.0, "derived"
    yield "prevalence", "risk_factors", "salt_tooth", 0.3, "derived"
    for level in LEVELS["stage"]:
        yield "domain_tv", level, "all", 0.0, "assumed"
        for domain, share in (("hands", 0.7), ("feet", 0.3)):
            yield "domain_share", level, domain, share, "assumed"
    for domain, years in (("hands", 0.9), ("feet", 0.2)):
        yield "onset_years", "onset", domain, years, "published"
    yield "onset_tau", "onset", "domain", 1.0, "published"
    for label in LABELS:
        yield "label_share", "label", label, 0.25, "gold"
    yield "label_tv", "label", "gold", 0.0, "gold"
    for bin_start in range(20):
        yield "nearest_gold_share", "train", f"{bin_start / 20:.2f}", 0.05, "gold"
    for split in ("train", "test"):
        yield "near_gold_share", split, "all", 0.0, None
    for measure in ("two_sample_auc", "majority_macro_f1", "keyword_macro_f1", "text_macro_f1", "text_over_keywords"):
        yield measure, "all", "all", 0.5 if measure == "two_sample_auc" else None, None
