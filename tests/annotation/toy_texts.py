"""A toy task, an arm's synthetic texts with their plans, and an annotator on the loopback."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.annotation.stage import units
from harness.schemas.arms import Annotation
from harness.schemas.manifest import Counts
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe, RecipeFile
from harness.schemas.tables import AGREEMENT, DISAGREEMENTS, PLANNED, REJECTED, SENTENCES, SYNTHETIC
from harness.schemas.task import Task, TaskFile, Term
from harness.store import Run, hash_inputs, read_rows, unit_folder, write_table

sys.path.insert(0, str(Path(__file__).parents[1] / "backends"))
from local_server import Answer, LocalServer, completion, serving

TASK = {
    "id": "toy", "version": 1, "title": "Toy", "disease": "toy disease", "rules": ["Denied is other."],
    "labels": {"negative": "other", "ties": ["mood", "memory"], "values": [
        {"id": "memory", "name": "memory trouble", "definition": "Forgets."},
        {"id": "mood", "name": "mood trouble", "definition": "Feels low."},
        {"id": "other", "name": "other", "definition": "Anything else."},
    ]},
}  # fmt: skip
LEXICON = (("memory", "forgets names"), ("memory", "gets lost"), ("mood", "tearful"), ("body", "falls"))
NOTE = """Subjective:
Forgets names of friends. Tearful when she gets lost. Denies falls.
Objective:
Alert and neat.
Assessment:
Gets lost on the way home but is not tearful.
Plan:
Falls again, see in spring."""
PLAN = (("forgets names", "memory", "present"), ("tearful", "mood", "present"), ("gets lost", "memory", "present"),
        ("falls", "other", "absent"))  # fmt: skip
WORDS = ("kettle", "garden", "stairs", "letter", "piano")


def toy_run(folder: Path, annotation: dict[str, Any], *, texts: Sequence[dict[str, Any]] = (), **arm: Any) -> Run:
    """A run whose only arm `dual` has been generated; sentences are `Forgets names of the kettle.` and the like."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"sees": ["label", "persona", "trajectory"], "backend": {"kind": "embedded"}, **arm}
    content = {"task": "toy", "seed": 7, "arms": {"dual": settings}, "mixes": ["all"],
               "annotation": annotation, "evaluation": {"n_bootstrap": 200}}  # fmt: skip
    file = RecipeFile.model_validate(content)
    mix = Mix.model_validate({"name": "all", "sources": [{"origin": "dual", "repeat": 1.0}]})
    terms = tuple(Term(domain=domain, term=term) for domain, term in LEXICON)
    task = Task(file=TaskFile.model_validate(TASK), folder=folder, lexicon=terms)
    recipe = Recipe(name="toy", path=folder / "toy.yaml", file=file, task=task, mixes=(mix,))
    run = Run(recipe=recipe, folder=folder / "run")
    rows = list(texts) or [sentence(index) for index in range(12)]
    planned = [one for row in rows for one in plan_of(row)]
    write_table(run.path("generation", "dual", "synthetic.parquet"), rows, SYNTHETIC)
    write_table(run.path("generation", "dual", "planned.parquet"), planned, PLANNED)
    return run


def sentence(index: int, **more: Any) -> dict[str, Any]:
    term, label, _ = PLAN[index % 2]
    text = f"{term.capitalize()} near the {WORDS[index % 5]} {index}."
    return {"text_id": f"{index:06d}", "unit": "sentence", "planned_label": label, "planned_term": term, "backend": "embedded",
            "model_id": "m", "model_revision": "r", "text": text, "n_attempts": 1, "persona_id": f"p{index // 2}",
            "sex": "female", **more}  # fmt: skip


def note(text: str = NOTE, text_id: str = "000000") -> dict[str, Any]:
    return sentence(0, text_id=text_id, unit="note", planned_label=None, planned_term=None, text=text)


def plan_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = PLAN if row["unit"] == "note" else [(row["planned_term"], row["planned_label"], "present")]
    return [
        {"text_id": row["text_id"], "mention_index": index, "term": term, "label": label, "polarity": polarity}
        for index, (term, label, polarity) in enumerate(wanted)
    ]


def do(run: Run) -> Counts:
    (unit,) = units(run)
    hash_inputs(run, unit.inputs)
    folder = unit_folder(run, unit)
    folder.mkdir(parents=True, exist_ok=True)
    counts = unit.work(folder)
    assert all((folder / name).is_file() for name in unit.outputs)
    json.dumps(counts.notes)
    return counts


def tables(run: Run) -> dict[str, list[dict[str, Any]]]:
    folder = run.path("annotation", "dual")
    found = {spec.name: folder / f"{spec.name}.parquet" for spec in (SENTENCES, REJECTED, AGREEMENT, DISAGREEMENTS)}
    specs = {spec.name: spec for spec in (SENTENCES, REJECTED, AGREEMENT, DISAGREEMENTS)}
    return {name: read_rows(path, specs[name]) for name, path in found.items() if path.is_file()}


def reads_meaning(sentence: str, seed: int) -> str:
    """An annotator that knows the toy task."""
    label = "memory" if re.search("forgets|lost", sentence, re.I) else "mood" if "earful" in sentence else "other"
    return json.dumps({"label": label})


@contextmanager
def annotator(say: Callable[[str, int], str] = reads_meaning) -> Iterator[tuple[dict[str, Any], LocalServer]]:
    """Settings of a chat server that answers `say(sentence, seed)`, and what it was asked."""

    def answer(n_before: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"]
        asked = prompt.rsplit("Sentence: ", 1)[1].removesuffix("\nAnswer:")
        return completion(say(asked, body["seed"]))

    with serving(answer) as server:
        yield {"kind": "openai_api", "base_url": server.base_url, "model": "judge", "max_retries": 0}, server


def rules(**given: Any) -> Annotation:
    return Annotation.model_validate(given)
