"""What a report is built from: the tables of a finished run, indexed. Values only; `stage.py` reads the files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.schemas.manifest import Manifest
from harness.schemas.recipe import FINE_TUNED, Recipe

Row = Mapping[str, Any]

LLM = FINE_TUNED
MAIN_METRIC = "macro_f1"
CLASS_METRIC = "f1"
GAP_METRIC, GAP_LEVEL = "macro_f1_gap", "gap"
ALL = "all"
OVERALL = "overall"


@dataclass(frozen=True)
class Composition:
    """What one mix shows the trainer.

    Attributes:
        n_examples: Rows of `train`: examples shown over all updates.
        n_sentences: Distinct sentences among them.
        n_supervised_tokens: Completion tokens the loss is taken over.
        by_origin: Origin to (distinct sentences, examples shown); None where it is withheld, as above.
        n_gold_patients: Patients behind the gold sentences.
    """

    n_examples: int
    n_sentences: int | None
    n_supervised_tokens: int
    by_origin: Mapping[str, tuple[int | None, int]]
    n_gold_patients: int = 0


@dataclass(frozen=True)
class ArmCounts:
    """How many sentences of an arm were asked for, tried, kept and dropped, and why."""

    n_asked: int | None
    """None for an arm that was read from a file; so is the next."""
    n_attempts: int | None
    """Candidates the generator wrote: those kept and those dropped."""
    n_accepted: int
    n_labelled: int
    n_by_label: Mapping[str, int]
    rejected: Mapping[str, int]
    """Reason to number of dropped candidates (generation) and sentences (annotation), most frequent first."""


@dataclass(frozen=True)
class LossCurve:
    """Training loss of one run, rows with a loss only."""

    mix: str
    seed: int
    steps: Sequence[int]
    losses: Sequence[float]
    learning_rates: Sequence[float | None]
    tokens: Sequence[int | None]


@dataclass(frozen=True)
class Inputs:
    """Everything the reports show, read once."""

    recipe: Recipe
    split: str
    metrics: Sequence[Row]
    contrasts: Sequence[Row]
    confusion: Sequence[Row]
    gold_statistics: Sequence[Row]
    composition: Mapping[str, Composition]
    audit: Mapping[str, Sequence[Row]]
    curves: Sequence[LossCurve]
    samples: Mapping[str, Sequence[Row]]
    arms: Mapping[str, ArmCounts]
    manifests: Sequence[Manifest]
    input_sha256: Mapping[str, str]
    test_set_sha256: str
    git_commit: str | None = None
    agreement: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Of arms whose sentences an annotator or people labelled."""
    fidelity: Sequence[Row] = ()
    """Empty for a recipe without arms."""
    ties: Sequence[Row] = ()
    """Which mix and learner may be the best of the run."""
    spent_usd: Mapping[str, float] = field(default_factory=dict)
    """Arm to what servers were paid for it; only where that is known."""
    reliability: Sequence[Row] = ()
    """Bins of the reliability diagrams; like `temperatures` empty where evaluation wrote none."""
    temperatures: Sequence[Row] = ()
    exchange: Sequence[Row] = ()
    """What a synthetic sentence is worth in gold; empty for a recipe without a learning curve."""
    n_withheld: int | None = None
    """Values withheld because too few patients are behind them; None where all are shown."""
    _metric_index: dict[tuple[str, ...], Row] = field(init=False, repr=False, default_factory=dict)
    _contrast_index: dict[tuple[str, ...], Row] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.metrics:
            self._metric_index[_metric_key(row)] = row
        for row in self.contrasts:
            self._contrast_index[_contrast_key(row)] = row

    @property
    def reference(self) -> str:
        """The mix that evaluation compared the others with."""
        return self.recipe.file.evaluation.reference_among(self.mixes)

    @property
    def mixes(self) -> tuple[str, ...]:
        return tuple(mix.name for mix in self.recipe.mixes)

    @property
    def other_mixes(self) -> tuple[str, ...]:
        return tuple(mix for mix in self.mixes if mix != self.reference)

    @property
    def learners(self) -> tuple[str, ...]:
        return self.recipe.learners

    @property
    def main_learner(self) -> str:
        """The one that verdicts are about: the fine-tuned model, or in a proxy run the first of the cheap ones."""
        return self.recipe.learners[0]

    def metric(
        self,
        mix: str,
        learner: str,
        *,
        metric: str = MAIN_METRIC,
        label: str = ALL,
        variable: str = OVERALL,
        level: str = ALL,
        train_seed: str = ALL,
    ) -> Row | None:
        """The row of one value; None where evaluation wrote none."""
        return self._metric_index.get((mix, learner, train_seed, metric, label, variable, level))

    def contrast(
        self,
        mix: str,
        learner: str,
        *,
        against: str | None = None,
        metric: str = MAIN_METRIC,
        label: str = ALL,
        variable: str = OVERALL,
        level: str = ALL,
    ) -> Row | None:
        """Difference of `mix` minus `against` (the reference mix where None); None where it was not computed."""
        key = (mix, against or self.reference, learner, metric, label, variable, level)
        return self._contrast_index.get(key)

    def tie(self, mix: str, learner: str) -> Row | None:
        """Where a mix and learner stands against the best; None for a floor, and where evaluation wrote none."""
        return next((row for row in self.ties if (row["mix"], row["learner"]) == (mix, learner)), None)

    def train_seeds(self, mix: str, learner: str) -> list[str]:
        """Train seeds of which evaluation has values, in order; "all" is left out."""
        found = {row["train_seed"] for row in self.metrics if row["mix"] == mix and row["learner"] == learner}
        return sorted(found - {ALL}, key=lambda seed: (len(seed), seed))

    def levels(self, variable: str) -> list[str]:
        """Levels of a subgroup variable that have values: those of the task in its order, then any others."""
        found = {
            row["subgroup_level"]
            for row in self.metrics
            if row["subgroup_variable"] == variable and row["metric"] == MAIN_METRIC
        }
        known = self.recipe.task.file.subgroups.get(variable)
        ordered = [level for level in known.levels if level in found] if known else []
        return ordered + sorted(found - set(ordered) - {ALL})

    @property
    def subgroup_variables(self) -> list[str]:
        found = {row["subgroup_variable"] for row in self.metrics}
        ordered = [variable for variable in self.recipe.file.evaluation.subgroups if variable in found]
        return ordered + sorted(found - set(ordered) - {OVERALL})


def _metric_key(row: Row) -> tuple[str, ...]:
    names = ("mix", "learner", "train_seed", "metric", "class", "subgroup_variable", "subgroup_level")
    return tuple(row[name] for name in names)


def _contrast_key(row: Row) -> tuple[str, ...]:
    names = ("mix_a", "mix_b", "learner", "metric", "class", "subgroup_variable", "subgroup_level")
    return tuple(row[name] for name in names)


def hash_test_set(rows: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the sorted (sentence_id, label) pairs of the test split: equal hashes, comparable scores."""
    digest = hashlib.sha256()
    for sentence_id, label in sorted(rows):
        digest.update(f"{sentence_id}\t{label}\n".encode())
    return digest.hexdigest()
