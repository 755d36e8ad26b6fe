"""The tables behind the fidelity report, read once: gold, arms, the drawn plan, targets and audits.

Texts are measured on a random sample of at most `fidelity.max_sentences` sentences an arm, so that the cost stays
linear in the number of sentences; people and labels are counted over all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.backends.embedding import Embed
from harness.errors import ConfigError
from harness.evaluation.fidelity_course import DAYS_PER_YEAR, Mentions, Setting
from harness.evaluation.fidelity_text import Sentences
from harness.metrics.fidelity import GOLD
from harness.schemas.arms import Sight
from harness.schemas.tables import AUDIT, MENTIONS, PERSONAS, PLANNED, SENTENCES, SYNTHETIC, VISITS
from harness.schemas.task import Task, Term
from harness.seeds import generator
from harness.store import Run, read_rows, read_table
from harness.words import TermIndex, denies_term, words

log = logging.getLogger(__name__)

TRAIN, TEST = "train", "test"
STREAM = ("evaluation", "fidelity")
TargetT = TypeVar("TargetT")


@dataclass(frozen=True)
class Sampled:
    """A sample of sentences of an arm or of gold, measured, and when and about whom each is."""

    sentences: Sentences
    setting: Setting
    mentions: Mentions


@dataclass(frozen=True)
class Notes:
    """The accepted notes of an arm of notes, and how many of its planned terms each carries."""

    setting: Setting
    mentions: Mentions
    n_carried: Sequence[int]


@dataclass(frozen=True)
class ArmTables:
    """What an arm wrote.

    Attributes:
        rows: Every sentence without its text: persona_id, label and the subgroup columns.
        sample: The sentences that texts are measured on.
        notes: Of an arm of notes; None for sentences.
    """

    name: str
    rows: list[dict[str, Any]]
    sample: Sampled
    notes: Notes | None = None


@dataclass(frozen=True)
class Reader:
    """How sentences are read: the lexicon, the vectors, the sample's size and the seed."""

    lexicon: Sequence[Term]
    embed: Embed
    max_sentences: int
    seed: int
    index: TermIndex = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", TermIndex([term.term for term in self.lexicon]))

    def choose(self, n: int, name: str) -> list[int]:
        """Places of the sample among `n` sentences, in order."""
        order = generator(self.seed, *STREAM, "sample", name).permutation(n)
        return sorted(order[: self.max_sentences].tolist())

    def measure(self, rows: Sequence[Mapping[str, Any]], owner: str, years: Sequence[float | None]) -> Sampled:
        """Tokens, terms and vectors of sentences, given with text, label, stage and owner."""
        texts = [str(row["text"]) for row in rows]
        mentions = self.find_terms(texts)
        held = np.zeros((len(texts), len(self.lexicon)), dtype=np.bool_)
        held[mentions.text, mentions.term] = True
        sentences = Sentences(
            texts=texts,
            labels=[str(row["label"]) for row in rows],
            persons=[f"\x00{place}" if row[owner] is None else str(row[owner]) for place, row in enumerate(rows)],
            tokens=[words(text) for text in texts],
            held=held,
            vectors=self.embed(texts).astype(np.float64),
        )
        setting = Setting([row.get("stage") for row in rows], [row[owner] for row in rows], years)
        return Sampled(sentences, setting, mentions)

    def find_terms(self, texts: Sequence[str]) -> Mentions:
        """Every lexicon term that each text holds, stated or denied."""
        found = [(place, term) for place, text in enumerate(texts) for term in self.index.held(text)]
        present = [not denies_term(texts[place], self.lexicon[term].term) for place, term in found]
        return Mentions(
            text=np.array([place for place, _ in found], dtype=np.intp),
            term=np.array([term for _, term in found], dtype=np.intp),
            present=np.array(present, dtype=np.bool_),
            n_texts=len(texts),
        )


def input_files(run: Run) -> list[Path]:
    """Every file that decides a number of the fidelity table."""
    found = [run.path("cohort", "gold.parquet")]
    found += [run.path("alignment", f"{spec.name}.parquet") for spec in (PERSONAS, VISITS, MENTIONS)]
    for arm in run.recipe.used_arms:
        found += [run.path("generation", arm, "synthetic.parquet"), run.path("annotation", arm, "sentences.parquet")]
        if run.recipe.arms[arm].unit == "note":
            found.append(run.path("generation", arm, "planned.parquet"))
    found += _audits(run)
    files = (run.population_file, run.trajectory_file, run.task.path(run.task.file.lexicon))
    return found + [path for path in files if path is not None]


def read_target(run: Run, part: Sight, path: Path | None, load: Callable[[Path, Task], TargetT]) -> TargetT | None:
    """A population or a trajectory; None without one, and for one that no arm was shown and that does not fit the task.

    Raises:
        ConfigError: It does not fit, but an arm was shown it.
    """
    try:
        return None if path is None else load(path, run.task)
    except ConfigError as error:
        if run.recipe.shows(part):
            raise
        log.warning("fidelity: left out as a target, which no arm was shown: %s", error)
        return None


def read_arm(run: Run, name: str, reader: Reader, visits: pa.Table) -> ArmTables:
    """An arm's sentences, the sample measured, and its notes where it writes notes."""
    table = read_table(run.path("annotation", name, "sentences.parquet"), SENTENCES)
    synthetic = read_table(
        run.path("generation", name, "synthetic.parquet"), SYNTHETIC, columns=["text_id", "persona_id", "visit_index"]
    )
    moments = _moments(synthetic, visits)
    sample = table.take(pa.array(reader.choose(table.num_rows, name), pa.int64())).to_pylist()
    is_notes = run.recipe.arms[name].unit == "note"
    return ArmTables(
        name=name,
        rows=table.drop_columns(["text"]).to_pylist(),
        sample=reader.measure(sample, "persona_id", [moments.get(row["text_id"]) for row in sample]),
        notes=_read_notes(run, name, reader, moments) if is_notes else None,
    )


def read_gold(gold: pa.Table, split: str, reader: Reader) -> ArmTables:
    """Gold of one split in the shape of an arm; its moments are not known."""
    table = gold.filter(pc.equal(gold["split"], split))
    sample = table.take(pa.array(reader.choose(table.num_rows, f"{GOLD}/{split}"), pa.int64())).to_pylist()
    return ArmTables(
        name=GOLD,
        rows=table.drop_columns(["text"]).to_pylist(),
        sample=reader.measure(sample, "patient_id", [None] * len(sample)),
    )


def _moments(synthetic: pa.Table, visits: pa.Table) -> dict[str, float]:
    """Years before the diagnosis by text, of the texts whose visit is known."""
    keys = zip(visits["persona_id"].to_pylist(), visits["visit_index"].to_pylist(), strict=True)
    days = dict(zip(keys, visits["days_before_diagnosis"].to_pylist(), strict=True))
    rows = zip(*(synthetic[column].to_pylist() for column in ("text_id", "persona_id", "visit_index")), strict=True)
    return {text: days[person, visit] / DAYS_PER_YEAR for text, person, visit in rows if (person, visit) in days}


def _read_notes(run: Run, name: str, reader: Reader, moments: Mapping[str, float]) -> Notes:
    """A sample of the notes as they were accepted: the terms they hold, and the planned ones among them."""
    table = read_table(run.path("generation", name, "synthetic.parquet"), SYNTHETIC)
    chosen = table.take(pa.array(reader.choose(table.num_rows, f"{name}/notes"), pa.int64())).to_pylist()
    planned: dict[str, set[str]] = {row["text_id"]: set() for row in chosen}
    for row in read_rows(run.path("generation", name, "planned.parquet"), PLANNED):
        if row["term"] is not None and row["text_id"] in planned:
            planned[row["text_id"]].add(row["term"])
    found = reader.find_terms([row["text"] for row in chosen])
    n_carried = [0] * len(chosen)
    for place, term in zip(found.text.tolist(), found.term.tolist(), strict=True):
        n_carried[place] += reader.lexicon[term].term in planned[chosen[place]["text_id"]]
    setting = Setting(
        stages=[row["stage"] for row in chosen],
        persons=[row["persona_id"] for row in chosen],
        years=[moments.get(row["text_id"]) for row in chosen],
    )
    return Notes(setting, found, n_carried)


def read_audit(run: Run, arm: str) -> list[dict[str, Any]]:
    """Audit rows of an arm: of each check, the mix that checked most of its sentences; the first mix in a tie."""
    largest: dict[tuple[str, str], dict[str, Any]] = {}
    for path in _audits(run):
        for row in read_rows(path, AUDIT):
            key = row["check"], row["against"]
            if row["origin"] == arm and row["n_checked"] > largest.get(key, {"n_checked": -1})["n_checked"]:
                largest[key] = row
    return [largest[key] for key in sorted(largest)]


def _audits(run: Run) -> list[Path]:
    return [path for mix in run.recipe.mixes for path in run.mix_tables(mix, "audit")]
