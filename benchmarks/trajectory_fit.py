"""Fit a trajectory to 100,000 dated notes: seconds, memory, and agreement of the matching with a slow reference.

    python benchmarks/trajectory_fit.py                 # the claim: at most 60 s on two cores, reading included
    python benchmarks/trajectory_fit.py --notes 10000

Notes are written in a process of their own from visits and mentions of the shipped trajectory at real density: 2.7 to
4.2 lexicon terms a note, the rest filled up from a grammar of made-up note language to about 138 words, so that hardly
two notes are alike. What is timed is the whole unit that the pipeline runs: reading, matching, denials and family
history, estimates with intervals, tables and YAML. The reference looks for every term by itself in every sentence, with
regular expressions over stems, and has no automaton; both see the same sentences, and only matching is compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import yaml

from harness.alignment.semantic import draw_mentions, draw_visits
from harness.cohort.notes.matcher import Matcher, _key
from harness.cohort.stage import units
from harness.schemas.base import read_yaml
from harness.schemas.recipe import load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.task import load_task
from harness.schemas.trajectory import load_trajectory
from harness.seeds import generator
from harness.sentences import split
from harness.store import Run
from harness.words import STOPWORDS

SEED = 20260101
WORDS_PER_NOTE = 138  # the paper's mean length in tokens
N_COMPARED = 500  # notes whose matches the slow reference finds again
STATED = ("Reports {} {when}.", "{who} describes {} {when}.", "{} {when}, {how}.", "Ongoing {}, {how}.", "{how}: {}.",
          "{who} called about {} {when}.")  # fmt: skip
DENIED = ("Denies {} {when}.", "No {} {when}.", "Negative for {}.", "{who} has not seen {}, no {}.")
ASIDE = ("Family history of {} in an aunt.", "Mother had {} {when}.", "Will monitor for {}.")
PLAIN = (
    "BP {n}/{m}, pulse {m}, weight {n} pounds on the clinic scale.", "{who} brought a list of {m} drugs {when}.",
    "Continue the {drug} at {m} mg {how}.", "Recheck {lab} in {m} weeks.", "Lives on floor {m} with {who}.",
    "Reviewed {lab} of {n} with {who} {when}.", "{drug} was started {when} by Dr. {name}.",
    "Referred to Dr. {name} {when}.",
    "Lungs clear, abdomen soft, no edema of the {side} leg.", "Sees Dr. {name} for the {side} knee {when}.",
    "Plays cards with {who} {when}, {how}.", "Moved here {when}; worked as a {job} for {m} years.",
)  # fmt: skip
FILL = {
    "when": ("since last winter", "over {m} months", "for {m} weeks", "after the move", "before lunch", "at night",
             "{m} days ago", "since the flu", "on weekends", "during the visit", "in early {month}", "after {month}"),
    "who": ("the wife", "his daughter", "her son", "a neighbour", "nursing staff", "the niece", "home aide",
            "the roommate"),
    "how": ("worsening", "mild", "occasional", "new", "gradual", "marked", "subtle", "stable", "recurrent", "daily"),
    "drug": ("lisinopril", "metformin", "sertraline", "donepezil", "warfarin", "atorvastatin", "melatonin"),
    "lab": ("sodium", "TSH", "vitamin B12", "creatinine", "hemoglobin", "glucose", "potassium"),
    "name": ("Moss", "Lee", "Ortiz", "Haddad", "Novak", "Okafor", "Lindqvist", "Rossi"),
    "job": ("baker", "teacher", "welder", "clerk", "nurse", "farmer", "tailor", "driver"),
    "month": ("January", "March", "May", "July", "September", "November"),
    "side": ("left", "right"),
}  # fmt: skip


def fill(pattern: str, rng: np.random.Generator) -> str:
    """A template with its blanks filled, those inside fillings too."""
    for _ in range(2):
        pattern = re.sub(r"\{(\w+)\}", lambda match: _word(match.group(1), rng), pattern)
    return pattern[:1].upper() + pattern[1:]


def _word(name: str, rng: np.random.Generator) -> str:
    if name in ("n", "m"):
        return str(rng.integers(2, 90 if name == "m" else 3000))
    return FILL[name][rng.integers(len(FILL[name]))]


def note(terms: list[tuple[str, bool]], lexicon: list[str], rng: np.random.Generator) -> str:
    """A note that states and denies these terms, and says other things up to its length."""
    said = []
    for term, denied in terms:
        patterns = DENIED if denied else STATED
        said.append(fill(patterns[rng.integers(len(patterns))].replace("{}", term), rng))
    if rng.random() < 0.1:
        said.append(fill(ASIDE[rng.integers(len(ASIDE))].replace("{}", lexicon[rng.integers(len(lexicon))]), rng))
    n_words = sum(len(one.split()) for one in said)
    wanted = WORDS_PER_NOTE * rng.uniform(0.6, 1.4)
    while n_words < wanted:
        said.append(fill(PLAIN[rng.integers(len(PLAIN))], rng))
        n_words += len(said[-1].split())
    return " ".join(said[place] for place in rng.permutation(len(said)))


def make(folder: Path, n_notes: int) -> None:
    """Write notes.jsonl, recipe.yaml and how many terms were planned."""
    task = load_task("alzheimers", base=folder)
    content = read_yaml(shipped("tasks") / "alzheimers" / "trajectory.yaml")
    content["mentions_per_note"]["density_multiplier"]["v"] = 1
    (folder / "known.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    truth = load_trajectory(folder / "known.yaml", task)
    lexicon = [term.term for term in task.lexicon]
    n_written = n_planned = number = 0
    with (folder / "notes.jsonl").open("w", encoding="utf-8") as file:
        while n_written < n_notes:
            patient = f"b{number:05d}"
            number += 1
            visits = draw_visits(truth, patient, generator(SEED, "visits", patient))
            drawn = draw_mentions(
                truth, task.lexicon, visits, negative=task.negative, rng=generator(SEED, "mentions", patient)
            )
            of_visit: list[list[tuple[str, bool]]] = [[] for _ in range(visits.num_rows)]
            for visit, term, polarity in zip(
                *(drawn[name].to_pylist() for name in ("visit_index", "term", "polarity")), strict=True
            ):
                of_visit[visit].append((term, polarity == "absent"))
            rng = generator(SEED, "words", patient)
            days, kinds = visits["days_before_diagnosis"].to_pylist(), visits["note_type"].to_pylist()
            for terms, day, kind in list(zip(of_visit, days, kinds, strict=True))[: n_notes - n_written]:
                date = np.datetime64("2020-06-15") - day
                row = {"patient_id": patient, "date": str(date), "diagnosis_date": "2020-06-15", "note_type": kind,
                       "text": note(terms, lexicon, rng)}  # fmt: skip
                file.write(json.dumps(row) + "\n")
                n_written += 1
                n_planned += len(terms)
    recipe = {"task": "alzheimers", "seed": SEED, "mixes": ["gold"], "notes": {"path": str(folder / "notes.jsonl")}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "planned.json").write_text(json.dumps(n_planned / n_written), encoding="utf-8")


class PeakMemory:
    """Highest sum of resident memory of this process and its children, sampled."""

    def __init__(self) -> None:
        self.mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.mb

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.1):
            total = 0
            for one in (process, *process.children(recursive=True)):
                try:
                    total += one.memory_info().rss
                except psutil.Error:
                    continue
            self.mb = max(self.mb, total / 2**20)


def measure(folder: Path) -> dict[str, float]:
    run = Run(recipe=load_recipe(folder / "recipe.yaml"), folder=folder / "run")
    gold, fitted = (next(unit for unit in units(run) if unit.name == name) for name in ("", "trajectory"))
    run.path("cohort", "trajectory").mkdir(parents=True)
    gold.work(run.path("cohort"))
    before = sum(os.times()[:4])
    memory, clock = PeakMemory(), time.perf_counter()
    counts = fitted.work(run.path("cohort", "trajectory"))
    seconds = time.perf_counter() - clock
    with (folder / "notes.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    sentences = [text[span.start : span.end] for text in texts for span in split(text)]
    return {
        "trajectory_fit_notes": counts.rows_in,
        "trajectory_fit_words_per_note": sum(len(text.split()) for text in texts) / len(texts),
        "trajectory_fit_terms_planned_per_note": json.loads((folder / "planned.json").read_text()),
        "trajectory_fit_terms_found_per_note": counts.notes["mentions"] / counts.rows_in,
        "trajectory_fit_distinct_sentences": len(set(sentences)) / len(sentences),
        "trajectory_fit_distinct_notes": len(set(texts)) / len(texts),
        "trajectory_fit_seconds": seconds,
        "trajectory_fit_cpu_seconds": sum(os.times()[:4]) - before,
        "trajectory_fit_notes_per_second": counts.rows_in / seconds,
        "trajectory_fit_peak_mb": memory.stop(),
        "trajectory_fit_agreement": agreement(texts[:: max(1, len(texts) // N_COMPARED)]),
    }


def agreement(texts: list[str]) -> float:
    """Share of term occurrences that automaton and reference find in the same place, of those either finds."""
    lexicon = [term.term for term in load_task("alzheimers", base=Path()).lexicon]
    matcher = Matcher(lexicon)
    same = either = 0
    for text in texts:
        for span in split(text):
            sentence = " ".join(text[span.start : span.end].split())
            fast, slow = set(matcher.find(sentence)), reference(sentence, lexicon)
            same += len(fast & slow)
            either += len(fast | slow)
    return same / either


def reference(sentence: str, lexicon: list[str]) -> set[tuple[int, int, int]]:
    """Terms of a sentence, one at a time, word by word; where they overlap, the first and then the longest."""
    tokens = [(match.group(), match.start(), match.end())
              for match in re.finditer(r"[a-z0-9]+(?:'[a-z]+)?|[.,;:!?()\[\]]", sentence.lower())
              if match.group() not in STOPWORDS]  # fmt: skip
    keys = [_key(word) for word, _, _ in tokens]
    found = []
    for index, term in enumerate(lexicon):
        wanted = [_key(word) for word in re.findall(r"[a-z0-9]+(?:'[a-z]+)?", term.lower()) if word not in STOPWORDS]
        places = range(len(keys) - len(wanted) + 1)
        found += [(at, -len(wanted), index) for at in places if keys[at : at + len(wanted)] == wanted]
    kept, end = set(), 0
    for place, minus_length, index in sorted(found):
        if place >= end:
            end = place - minus_length
            kept.add((index, tokens[place][1], tokens[end - 1][2]))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        process = multiprocessing.get_context("spawn").Process(target=make, args=(Path(name), arguments.notes))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"making the notes failed with exit code {process.exitcode}")
        for figure, value in measure(Path(name)).items():
            print(f"figure {figure} {value:.5g}" if isinstance(value, float) else f"figure {figure} {value}")


if __name__ == "__main__":
    main()
