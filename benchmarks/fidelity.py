"""Fidelity of an arm of 250,000 sentences beside one of a tenth of that: seconds, memory, and what ten times more cost.

    python benchmarks/fidelity.py                     # both sizes with MiniLM vectors
    python benchmarks/fidelity.py --embedding tfidf --sentences 25000

Gold is the demo gold of the Alzheimer's task; personas and plan are drawn for real. Sentences are made from the lexicon
and a few carriers. Quadratic measures run on samples (`fidelity.max_sentences`, 2,000 by default), so that only
counting people and labels grows with the arm. Each size is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from harness.alignment import stage as alignment
from harness.cohort import stage as cohort
from harness.evaluation.fidelity import fidelity_units
from harness.pipeline import run_unit
from harness.schemas.recipe import load_recipe
from harness.schemas.tables import AUDIT, PERSONAS, SENTENCES, SYNTHETIC, VISITS
from harness.seeds import generator
from harness.store import Run, read_rows, write_table

SEED = 20260101
CARRIERS = (
    "Family has noticed {term} since visit {n}.", "Patient reports {term} for {n} months, worse at night.",
    "{term} again today, unchanged from note {n}.", "Denies {term}; daughter disagrees and counts {n} occasions.",
    "Staff call about {term} during week {n} of the stay.", "At appointment {n} {term} led to a fall in the kitchen.",
)  # fmt: skip


def make_run(folder: Path, n: int, embedding: str) -> Run:
    """A run folder with every table that fidelity reads, its arm of `n` sentences."""
    (folder / "all.yaml").write_text(yaml.safe_dump({"sources": [{"origin": "big", "repeat": 1}]}), encoding="utf-8")
    recipe = {
        "task": "alzheimers",
        "seed": SEED,
        "arms": {
            "big": {"sees": ["label", "persona", "trajectory"], "n_personas": 100, "backend": {"kind": "embedded"}}
        },
        "mixes": ["all.yaml"],
        "fidelity": {"embedding": embedding},
    }
    (folder / "bench.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run = Run(recipe=load_recipe(folder / "bench.yaml"), folder=folder / "run")
    for units in (cohort.units, alignment.units):
        for unit in units(run):
            run_unit(run, unit, force=True)
    write_arm(run, n)
    return run


def write_arm(run: Run, n: int) -> None:
    rng = generator(SEED, "fidelity-benchmark")
    personas = {row["persona_id"]: row for row in read_rows(run.path("alignment", "personas.parquet"), PERSONAS)}
    visits = read_rows(run.path("alignment", "visits.parquet"), VISITS)
    terms, carriers, places = (
        rng.integers(size, size=n) for size in (len(run.task.lexicon), len(CARRIERS), len(visits))
    )
    synthetic, sentences = [], []
    for index, (term, carrier, place) in enumerate(zip(terms, carriers, places, strict=True)):
        visit = visits[place]
        text = CARRIERS[carrier].format(term=run.task.lexicon[term].term, n=index)
        shown: dict[str, Any] = {"persona_id": visit["persona_id"], "stage": visit["stage"]}
        shown |= {name: personas[visit["persona_id"]][name] for name in ("sex", "age_band", "race_ethnicity")}
        synthetic.append({"text_id": f"{index:06d}", "unit": "sentence", "backend": "made", "model_id": "made",
                          "model_revision": "0", "text": text, "n_attempts": 1, "visit_index": visit["visit_index"],
                          **shown})  # fmt: skip
        sentences.append({"sentence_id": f"big/{index:06d}/0", "text_id": f"{index:06d}", "char_start": 0,
                          "char_end": len(text), "text": text, "label": run.task.label_ids[index % 6],
                          "label_source": "plan", **shown})  # fmt: skip
    write_table(run.path("generation", "big", "synthetic.parquet"), synthetic, SYNTHETIC)
    write_table(run.path("annotation", "big", "sentences.parquet"), sentences, SENTENCES)
    write_table(run.path("mixes", "all", "audit.parquet"), [], AUDIT)


def make(folder: Path, n: int, embedding: str) -> None:
    make_run(folder, n, embedding)


def measure(folder: Path, n: int) -> None:
    """Run the unit and print its figures; the data were made in another process, whose memory does not count."""
    run = Run(recipe=load_recipe(folder / "bench.yaml"), folder=folder / "run")
    (unit,) = fidelity_units(run)
    start = time.perf_counter()
    result = run_unit(run, unit, force=True)
    seconds = time.perf_counter() - start
    (folder / "seconds").write_text(str(seconds), encoding="utf-8")
    print(f"figure sentences_{n}_seconds {seconds:.1f}")
    print(f"figure sentences_{n}_peak_mb {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
    print(f"figure sentences_{n}_rows {result.manifest.counts.rows_out}")


def apart(target: Any, *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{target.__name__} failed with exit code {process.exitcode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=250_000)
    parser.add_argument("--embedding", choices=("minilm", "tfidf"), default="minilm")
    arguments = parser.parse_args()
    seconds = []
    for n in (arguments.sentences // 10, arguments.sentences):
        with tempfile.TemporaryDirectory() as name:
            apart(make, Path(name), n, arguments.embedding)
            apart(measure, Path(name), n)
            seconds.append(float((Path(name) / "seconds").read_text(encoding="utf-8")))
    print(f"figure ten_times_the_sentences_times_the_seconds {seconds[1] / seconds[0]:.2f}")


if __name__ == "__main__":
    main()
