"""Audit, draw, format and write a mix of 250,000 synthetic and 12,000 gold sentences: seconds, memory, recall.

    python benchmarks/mixing.py                  # the claim: at most 60 s and 2,048 MB on two cores
    python benchmarks/mixing.py --synthetic 25000 --gold 1200

Sentences come from a small grammar of made-up note language, 6 to 25 words each. A known number of exact duplicates
(one cluster of thousands of equal lines among them), near-duplicates and leaks of held-out gold is planted; an edited
sentence counts as a near-duplicate when its exact Jaccard similarity, computed here with Python sets, is at least 0.8.
A planted copy of a sentence that was itself removed stays, and rightly, so recall may fall short of 1 by a few rows.
The data are made in a process of their own, so that its memory is not counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.mixes.audit import NEAR_DUPLICATE
from harness.mixes.format import Wording
from harness.mixes.pools import arm_pool, gold_pool
from harness.mixes.stage import Length, write_mix
from harness.prompts.render import completions, render_classify
from harness.schemas.mix import Mix, Source
from harness.schemas.recipe_parts import TrainingBudget
from harness.schemas.tables import AUDIT, GOLD, REJECTED, SENTENCES
from harness.schemas.task import Label, LabelSet, Task, TaskFile
from harness.seeds import generator
from harness.store import read_rows, read_table, write_table

SEED = 20260101
LABELS = tuple(Label(id=f"l{k}", name=name, definition=name) for k, name in enumerate(
    ("cognitive impairment", "concern by others", "functional impairment", "physiological changes",
     "neuropsychiatric symptoms", "other")))  # fmt: skip

WHO, SAYS, HOW, WHAT, WHEN, THEN = (
    [option.strip() for option in options.replace("\n", " ").split("|")]
    for options in (
        """pt|patient|he|she|the wife|his daughter|her son|the husband|a neighbour|nursing staff|case manager|
        the caregiver|home aide|family|brother in law|his niece|the roommate|granddaughter|clinic nurse""",
        """reports|denies|states|notes|is worried about|describes|observed|mentions|endorses|has noticed|complains of|
        called about|asked about|is unsure about|documents|recalls|questions|minimises|confirms|wrote down""",
        """worsening|mild|occasional|frequent|new|gradual|marked|subtle|intermittent|ongoing|stable|fluctuating|painful|
        recurrent|progressive|troubling|brief|nightly|daily|rare|unexplained|severe|longstanding|transient""",
        """memory loss|word finding pauses|misplaced keys|missed bills|getting lost while driving|repeating questions|
        trouble cooking|burnt pans|poor sleep|low mood|irritability|suspicion of neighbours|weight loss|unsteady gait|
        two falls|tremor of the left hand|urinary urgency|reduced appetite|forgotten appointments|wandering at dusk|
        seeing small animals|confusion about dates|difficulty with buttons|unpaid taxes|shouting in sleep|tearfulness|
        apathy|neglected garden|mixing up pills|losing the thread of talks|blank spells|knee pain|seasonal cough|
        dry skin|ankle swelling|ringing ears|blurred vision|heartburn|constipation|hip stiffness|hand numbness""",
        """since last winter|over {n} months|for {n} weeks|after the move|since retirement|before lunch|at night|
        {n} days ago|following surgery|since {n} years|during the visit|after the funeral|in church|while shopping|
        on weekends|after stopping donepezil|since the flu|on {n} occasions|at the bank|when travelling""",
        """will recheck labs|score {n} of 30|follow up in {n} weeks|referred to neurology|no change in plan|MRI ordered|
        lives alone on floor {n}|bp 1{n} over 7{n}|continue sertraline {n} mg|declined testing|drives short trips|
        walks {n} blocks|started melatonin {n} mg|watches the news|retired from job {n}|plays cards with {n} friends|
        needs help with bathing|still manages money|clock drawing was poor|recalled {n} of 5 words""",
    )
)
WORDS = sorted({word for part in (WHO, HOW, WHAT) for phrase in part for word in phrase.split()})


def sentence(rng: np.random.Generator) -> str:
    """One sentence of 6 to 25 words or so."""

    def one(options: list[str]) -> str:
        return options[int(rng.integers(len(options)))].replace("{n}", str(rng.integers(1, 99)))

    parts = [f"{one(WHO)} {one(SAYS)} {one(HOW)} {one(WHAT)} {one(WHEN)}"]
    if rng.random() < 0.8:
        parts.append(f"also {one(HOW)} {one(WHAT)}")
    if rng.random() < 0.7:
        parts.append(one(THEN))
    if rng.random() < 0.5:
        parts.append(f"{one(WHO)} {one(SAYS)} {one(WHAT)}")
    return (", ".join(parts) + ".").capitalize()


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of character 5-grams, written independently of the harness."""
    first, second = ({text[k : k + 5] for k in range(len(text) - 4)} for text in (plain(one), plain(other)))
    return len(first & second) / len(first | second)


def plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def respelled(text: str) -> str:
    """The same sentence to a reader: other case and punctuation."""
    return text.upper().replace(",", " -").rstrip(".") + " !"


def near(text: str, rng: np.random.Generator) -> str:
    """The sentence with one or two words changed, at least 0.8 similar but not equal."""
    while True:
        words = text.split()
        for _ in range(int(rng.integers(1, 3))):
            place = int(rng.integers(len(words)))
            words[place : place + int(rng.integers(2))] = [WORDS[int(rng.integers(len(WORDS)))]]
        edited = " ".join(words)
        if plain(edited) != plain(text) and similarity(edited, text) >= NEAR_DUPLICATE:
            return edited


def make(folder: Path, n_synthetic: int, n_gold: int) -> None:
    """Write gold.parquet and sentences.parquet; what was planted stands in the ids."""
    rng = generator(SEED, "benchmark")
    gold = []
    for k in range(n_gold):
        patient = k // 10
        split = ("train", "train", "train", "validation", "test")[patient % 5]
        gold.append({"sentence_id": f"g{k:06d}", "patient_id": f"p{patient:05d}", "split": split, "text": sentence(rng),
                     "label": LABELS[k % len(LABELS)].id})  # fmt: skip
    write_table(folder / "gold.parquet", gold, GOLD)
    held_out = [row["text"] for row in gold if row["split"] != "train"]
    texts = _synthetic(n_synthetic, [row["text"] for row in gold if row["split"] == "train"], held_out, rng)
    rows = [
        {
            "sentence_id": f"{name}-{k:06d}",
            "text_id": f"t{k}",
            "char_start": 0,
            "char_end": len(text),
            "text": text,
            "label": LABELS[k % len(LABELS)].id,
            "label_source": "plan",
        }
        for k, (name, text) in enumerate(texts)
    ]
    write_table(folder / "sentences.parquet", rows, SENTENCES)


def _synthetic(n_rows: int, train: list[str], held_out: list[str], rng: np.random.Generator) -> list[tuple[str, str]]:
    n_each = n_rows // 50
    base = [sentence(rng) for _ in range(n_rows - 7 * n_each)]

    def some(texts: list[str]) -> list[str]:
        return [texts[int(k)] for k in rng.integers(len(texts), size=n_each)]

    planted: dict[str, list[str]] = {
        "z_duplicate": [respelled(text) for text in some(base)],
        "z_duplicate_gold": [respelled(text) for text in some(train)],
        "z_cluster": [sentence(rng)] * n_each,
        "z_near": [near(text, rng) for text in some(base)],
        "z_near_gold": [near(text, rng) for text in some(train)],
        "z_leak": [respelled(text) for text in some(held_out)],
        "z_near_leak": [near(text, rng) for text in some(held_out)],
    }
    return [("a", text) for text in base] + [(name, text) for name, texts in planted.items() for text in texts]


def measure(folder: Path) -> dict[str, float]:
    task = Task(
        file=TaskFile(id="benchmark", version=1, title="t", disease="d", labels=LabelSet(values=LABELS)), folder=folder
    )
    mix = Mix(name="bench", sources=(Source(origin="gold", repeat=1), Source(origin="synthetic", repeat=1)))
    texts = completions(task)
    wording = Wording(prompt=partial(render_classify, task), completions=texts, n_tokens=dict.fromkeys(texts, 3))
    clock = time.perf_counter()
    gold = read_table(folder / "gold.parquet", GOLD)
    synthetic = read_table(folder / "sentences.parquet", SENTENCES)
    pools = [gold_pool(gold, "train"), arm_pool("synthetic", synthetic)]
    n_examples = gold.num_rows + synthetic.num_rows
    counts = write_mix(
        folder / "mix",
        mix,
        gold,
        pools,
        wording,
        length=Length(TrainingBudget(size=n_examples), global_batch=1),
        root_seed=SEED,
    )
    seconds = time.perf_counter() - clock
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"mixing_rows_in": counts.rows_in, "mixing_rows_out": counts.rows_out, "mixing_rejected": counts.rejected,
            "mixing_seconds": seconds, "mixing_peak_rss_mb": peak_mb, **recalls(folder)}  # fmt: skip


def recalls(folder: Path) -> dict[str, float]:
    """Share of what was planted that the audit removed, and what it removed besides."""
    reasons = {
        row["row_id"].removeprefix("synthetic/"): row["reason"]
        for row in read_rows(folder / "mix/rejected.parquet", REJECTED)
    }
    ids: list[str] = read_table(folder / "sentences.parquet", SENTENCES, columns=["sentence_id"])[
        "sentence_id"
    ].to_pylist()

    def found(*kinds: str, when: Callable[[str | None], bool] = bool) -> float:
        planted = [one for one in ids if one.rpartition("-")[0] in kinds]
        return sum(when(reasons.get(one)) for one in planted) / len(planted)

    n_near_base = sum(reason == "near_duplicate" for one, reason in reasons.items() if one.startswith("a-"))
    audit_rows = read_rows(folder / "mix/audit.parquet", AUDIT)
    return {
        "duplicate_recall": found("z_duplicate", "z_duplicate_gold"),
        "cluster_removed_share": found("z_cluster"),
        "near_duplicate_recall": found("z_near", "z_near_gold"),
        "leak_recall": found("z_leak", when="leak".__eq__),
        "near_leak_recall": found("z_near_leak", when="leak".__eq__),
        "near_duplicates_not_planted": n_near_base,
        "near_leaks_found": sum(row["n_found"] for row in audit_rows if row["check"] == "near_leak"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", type=int, default=250_000)
    parser.add_argument("--gold", type=int, default=12_000)
    arguments = parser.parse_args()
    pa.set_cpu_count(2)
    with tempfile.TemporaryDirectory() as name:
        process = multiprocessing.get_context("spawn").Process(
            target=make, args=(Path(name), arguments.synthetic, arguments.gold)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"making the data failed with exit code {process.exitcode}")
        for figure, value in measure(Path(name)).items():
            print(f"figure {figure} {value:.5g}" if isinstance(value, float) else f"figure {figure} {value}")


if __name__ == "__main__":
    main()
