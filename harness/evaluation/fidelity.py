"""Tables of gold, alignment, generation, annotation and mixes in; the table `fidelity` out.

How near each arm is to its target and to training gold, and what was not aligned. Gold is training gold: it is what
arms may resemble. Held-out sentences are met in one measure alone, the cosine to the nearest test sentence, which
audits texts that were written long before; nothing after this unit but the report reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from threadpoolctl import threadpool_limits

from harness.backends.embedding import open_embedder, resolve
from harness.evaluation.by_subgroup import Row
from harness.evaluation.fidelity_course import (
    co_occurrence_row,
    course_rows,
    coverage_row,
    domain_pairs,
    mention_count_rows,
    plan_mentions,
)
from harness.evaluation.fidelity_people import Person, gather_people, people_rows, stage_rows
from harness.evaluation.fidelity_read import (
    STREAM,
    TEST,
    TRAIN,
    ArmTables,
    Reader,
    input_files,
    read_arm,
    read_audit,
    read_gold,
    read_target,
)
from harness.evaluation.fidelity_rows import Goal, Resampled, Rows, resample
from harness.evaluation.fidelity_target import (
    STAGE,
    CourseTarget,
    PeopleTarget,
    course_target,
    people_target,
)
from harness.evaluation.fidelity_text import (
    closeness_rows,
    count_labels,
    diversity_rows,
    keyword_rows,
    label_rows,
    length_rows,
    two_sample_row,
)
from harness.metrics.closeness import nearest_cosine
from harness.metrics.counts import Floats
from harness.metrics.estimate import known
from harness.metrics.fidelity import GOLD, PLAN
from harness.schemas.arms import Arm
from harness.schemas.manifest import Counts
from harness.schemas.population import load_population
from harness.schemas.tables import FIDELITY, MENTIONS, PERSONAS, VISITS
from harness.schemas.tables import GOLD as GOLD_TABLE
from harness.schemas.trajectory import load_trajectory
from harness.seeds import generator, integer
from harness.store import Run, Unit, read_rows, read_table, write_table

log = logging.getLogger(__name__)

VERSION = 1  # raised when a measure changes although recipe and task do not
UNIT = "fidelity"
BLAS_THREADS = 1  # see stage.py
NO_PERSONA = "the arm shows no persona"
NO_STAGE = "the arm shows no stage"
NO_SENTENCE = "no sentence was kept"
MIN_SAMPLE = 20  # a smaller set is measured as it is, and its n says so; it does not pull the others down


def fidelity_units(run: Run) -> list[Unit]:
    """One unit over all arms that a mix draws from; none where there is no arm."""
    recipe = run.recipe
    if not recipe.used_arms:
        return []
    settings: dict[str, Any] = {
        "version": VERSION,
        "fidelity": recipe.file.fidelity.model_dump(mode="json"),
        "embedding": resolve(recipe.file.fidelity.embedding),
        "evaluation": recipe.file.evaluation.model_dump(mode="json", include={"n_bootstrap", "confidence"}),
        "arms": {
            name: recipe.arms[name].model_dump(mode="json", include={"sees", "unit"}) for name in recipe.used_arms
        },
        "labels": list(run.task.label_ids),
        "negative": run.task.negative,
    }
    return [
        Unit(
            stage="evaluation",
            name=UNIT,
            inputs=input_files(run),
            settings=settings,
            seed_path=STREAM,
            work=partial(_work, run),
            outputs=("fidelity.parquet",),
        )
    ]


def _work(run: Run, folder: Path) -> Counts:
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        study = _Study(run)
        rows = [*study.gold_rows(), *study.plan_rows()]
        for name in run.recipe.used_arms:
            rows += study.arm_rows(name)
    write_table(folder / "fidelity.parquet", rows, FIDELITY)
    n_undefined = sum(row["status"] != "ok" for row in rows)
    log.info("evaluation/%s: %d rows, %d of them without a value", UNIT, len(rows), n_undefined)
    return Counts(rows_in=study.n_sentences, rows_out=len(rows), notes=study.notes | {"without_value": n_undefined})


class _Study:
    """Gold and the arms, read and measured, and the targets they are held against."""

    def __init__(self, run: Run) -> None:
        self.run, self.settings, self.task = run, run.recipe.file.fidelity, run.task
        gold = read_table(run.path("cohort", "gold.parquet"), GOLD_TABLE)
        train_texts = [row["text"] for row in gold.select(["split", "text"]).to_pylist() if row["split"] == TRAIN]
        kind = resolve(self.settings.embedding)
        reader = Reader(
            lexicon=self.task.lexicon,
            embed=open_embedder(kind, background=train_texts),
            max_sentences=self.settings.max_sentences,
            seed=run.seed,
        )
        self.visits = read_table(run.path("alignment", "visits.parquet"), VISITS)
        self.personas = {
            row["persona_id"]: row for row in read_rows(run.path("alignment", "personas.parquet"), PERSONAS)
        }
        self.gold, self.test = read_gold(gold, TRAIN, reader), read_gold(gold, TEST, reader)
        self.arms = {name: read_arm(run, name, reader, self.visits) for name in run.recipe.used_arms}
        self.people = self._people_target()
        self.course = self._course_target()
        self.n_sample = self._n_sample()
        self.nearest = {split: self._nearest(self.gold, split) for split in (TRAIN, TEST)}
        self.goals: dict[str, float | None] = {}
        self.plan_pairs: Floats | None = None
        self.gold_pairs = domain_pairs(self.gold.sample.mentions, self.task.lexicon)
        self.notes: dict[str, Any] = {"embedding": kind, "diversity_sample": self.n_sample}

    @property
    def n_sentences(self) -> int:
        return sum(len(one.rows) for one in (self.gold, *self.arms.values()))

    # -- rows ----------------------------------------------------------------------------------------------------------

    def gold_rows(self) -> list[Row]:
        rows = Rows(GOLD)
        people = gather_people(self.gold.rows, "patient_id", self.people.margins, {})
        people_rows(rows, people, self.people, why_none="gold does not say")
        self._stage_rows(rows, self.gold, "gold does not say the stage")
        label_rows(rows, self._labels(self.gold), None, self.course.labels)
        self._text_rows(rows, self.gold)
        self.goals = {f"{row['measure']}/{row['level']}": row["value"] for row in rows.rows}
        return rows.rows

    def plan_rows(self) -> list[Row]:
        """The drawn personas, visits and mentions against the target files, before any text is written."""
        rows = Rows(PLAN)
        if self.personas and self.people.margins:
            drawn = [Person(self._levels(one), frozenset(one["risk_factors"]), 1) for one in self.personas.values()]
            people_rows(rows, drawn, self.people, why_none="no persona was drawn")
        if self.visits.num_rows and self.course.domains:
            mentions = read_table(self.run.path("alignment", "mentions.parquet"), MENTIONS)
            found, setting = plan_mentions(self.visits, mentions, self.task.lexicon)
            counts = _counts_by_note(mentions, self.visits)
            resampled = self._resampled(PLAN, len(set(setting.persons)))
            mention_count_rows(rows, counts, setting, target=self.course, resampled=resampled)
            course_rows(rows, found, setting, target=self.course, lexicon=self.task.lexicon)
            self.plan_pairs = domain_pairs(found, self.task.lexicon)
        return rows.rows

    def arm_rows(self, name: str) -> list[Row]:
        arm, tables, rows = self.run.recipe.arms[name], self.arms[name], Rows(name)
        sees_persona = "persona" in (arm.sees or ())
        variables = self.people.margins
        people = gather_people(tables.rows, "persona_id", variables, self.personas if sees_persona else {})
        people_rows(rows, people, self.people, why_none=_why_none(arm, "persona", NO_PERSONA))
        self._stage_rows(rows, tables, _why_none(arm, "trajectory", NO_STAGE))
        label_rows(rows, self._labels(tables), self._labels(self.gold), self.course.labels)
        self._note_rows(rows, tables)
        self._text_rows(rows, tables)
        rng = generator(self.run.seed, *STREAM, "two_sample", name)
        seed = integer(self.run.seed, *STREAM, "folds", name)
        two_sample_row(rows, tables.sample.sentences, self.gold.sample.sentences, n_folds=self.settings.n_folds,
                       seed=seed, rng=rng)  # fmt: skip
        for row in read_audit(self.run, name):
            at = (row["check"], row["against"])
            if row["n_checked"]:
                found = known(row["n_found"] / row["n_checked"])
                rows.add("audit_found", found, at=at, n=row["n_checked"], goal=Goal(0.0, None))
        return rows.rows

    def _stage_rows(self, rows: Rows, tables: ArmTables, why_none: str) -> None:
        if self.course.stages is not None:
            stages = [str(row[STAGE]) for row in tables.rows if row.get(STAGE) is not None]
            stage_rows(rows, stages, self.course.stages, why_none)

    def _note_rows(self, rows: Rows, tables: ArmTables) -> None:
        """What accepted notes carry; an arm of sentences has no notes to count in."""
        if tables.notes is None:
            for stage, goal in self.course.mentions_per_note.items():
                rows.missing("mentions_per_note", "the arm writes sentences, not notes", at=(STAGE, stage), goal=goal)
            return
        notes = tables.notes
        resampled = self._resampled(f"{tables.name}/notes", len(set(notes.setting.persons)))
        mention_count_rows(rows, notes.n_carried, notes.setting, target=self.course, resampled=resampled)
        if self.plan_pairs is not None:
            co_occurrence_row(rows, domain_pairs(notes.mentions, self.task.lexicon), self.plan_pairs, PLAN)

    def _text_rows(self, rows: Rows, tables: ArmTables) -> None:
        """What gold and arms have in common; for gold itself there is nothing to be near."""
        sample, sentences = tables.sample, tables.sample.sentences
        gold = None if tables is self.gold else self.gold.sample.sentences
        resampled = self._resampled(tables.name, len(set(sentences.persons)))
        chosen = self._diversity_sample(tables)
        course_rows(rows, sample.mentions, sample.setting, target=self.course, lexicon=self.task.lexicon)
        coverage_row(rows, sample.mentions, chosen, self.task.lexicon)
        if gold is not None:
            co_occurrence_row(rows, domain_pairs(sample.mentions, self.task.lexicon), self.gold_pairs, GOLD)
        length_rows(rows, sentences, gold, resampled)
        diversity_rows(rows, sentences, chosen, {} if gold is None else self.goals)
        for split in (TRAIN, TEST):
            own = self.nearest[split]
            nearest = own if gold is None else self._nearest(tables, split)
            closeness_rows(rows, nearest, split=split, groups=sentences.groups, threshold=self.settings.near_gold,
                           gold=None if gold is None else own, resampled=resampled)  # fmt: skip
        seed = integer(self.run.seed, *STREAM, "folds", tables.name)
        keyword_rows(rows, sentences, n_folds=self.settings.n_folds, seed=seed, resampled=resampled)

    # -- what rows are made of -----------------------------------------------------------------------------------------

    def _people_target(self) -> PeopleTarget:
        population = read_target(self.run, "persona", self.run.population_file, load_population)
        return PeopleTarget() if population is None else people_target(population)

    def _course_target(self) -> CourseTarget:
        path = self.run.trajectory_file if self.task.lexicon else None
        trajectory = read_target(self.run, "trajectory", path, load_trajectory)
        if trajectory is None:
            return CourseTarget()
        return course_target(trajectory, self.task.lexicon, self.task.negative)

    def _levels(self, persona: Mapping[str, Any]) -> dict[str, str]:
        return {name: str(persona[name]) for name in self.people.margins if persona.get(name) is not None}

    def _labels(self, tables: ArmTables) -> dict[str, int]:
        return count_labels([row["label"] for row in tables.rows], self.task.label_ids)

    def _nearest(self, tables: ArmTables, split: str) -> Floats:
        """Cosine of each sentence to the nearest of a split; training gold is compared with other patients' alone."""
        vectors = tables.sample.sentences.vectors
        reference = (self.gold if split == TRAIN else self.test).sample.sentences
        if tables is self.gold and split == TRAIN:
            return nearest_cosine(vectors, vectors, groups=reference.groups, reference_groups=reference.groups)
        return nearest_cosine(vectors, reference.vectors)

    def _n_sample(self) -> int:
        """Sentences that diversity is measured on: as many of every set, so that values compare."""
        sizes = [len(one.sample.sentences.texts) for one in (self.gold, *self.arms.values())]
        enough = [size for size in sizes if size >= MIN_SAMPLE]
        return min([self.settings.diversity_sample, *enough])

    def _diversity_sample(self, tables: ArmTables) -> list[int]:
        n = len(tables.sample.sentences.texts)
        order = generator(self.run.seed, *STREAM, "diversity", tables.name).permutation(n)
        return sorted(order[: self.n_sample].tolist())

    def _resampled(self, name: str, n_groups: int) -> Resampled:
        evaluation = self.run.recipe.file.evaluation
        return resample(n_groups, n_replicates=evaluation.n_bootstrap, confidence=evaluation.confidence,
                        rng=generator(self.run.seed, *STREAM, "bootstrap", name))  # fmt: skip


def _why_none(arm: Arm, part: str, why: str) -> str:
    """Why an arm shows no persona or stage: its prompts hold none, its file names none, or no sentence was kept."""
    if arm.sight is not None and part not in arm.sight:
        return why
    return NO_SENTENCE if arm.path is None else "the arm's file does not say"


def _counts_by_note(mentions: pa.Table, visits: pa.Table) -> Sequence[int]:
    """Mentions of every visit, zeros included, in the order of visits."""
    key = ["persona_id", "visit_index"]
    counted = mentions.group_by(key, use_threads=False).aggregate([([], "count_all")])
    names = zip(*(counted[column].to_pylist() for column in key), strict=True)
    by_visit = dict(zip(names, counted["count_all"].to_pylist(), strict=True))
    return [by_visit.get(one, 0) for one in zip(*(visits[column].to_pylist() for column in key), strict=True)]
