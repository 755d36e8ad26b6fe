"""A toy task with its tables, and a server on the loopback that writes toy sentences for it."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe, RecipeFile
from harness.schemas.tables import GOLD, MENTIONS, PERSONAS, VISITS
from harness.schemas.task import Task, TaskFile
from harness.store import Run, write_table

TERMS = {"memory": ["forgets names", "gets lost", "repeats questions"], "mood": ["tearful", "anxiety", "pacing"]}
STAGES = ("early", "late")
TASK = {
    "id": "toy", "version": 1, "title": "Toy", "disease": "toy disease",
    "labels": {"negative": "other", "values": [
        {"id": "memory", "name": "memory trouble", "definition": "Forgets."},
        {"id": "mood", "name": "mood trouble", "definition": "Feels low."},
        {"id": "other", "name": "other", "definition": "Anything else."},
    ]},
    "subgroups": {
        "sex": {"title": "Sex", "levels": {"female": "Female", "male": "Male"}},
        "stage": {"title": "Stage", "levels": {"early": "Early", "late": "Late"}},
    },
    "prompts": {"exemplars": "few.jsonl", "n_shots": 2},
}  # fmt: skip
EXEMPLARS = [
    {
        "label": "memory",
        "text": "Lost her glasses in the freezer this morning.",
        "term": "misplaces items",
        "polarity": "present",
    },
    {"label": "memory", "text": "Asked for his late brother all evening.", "term": "confusion", "polarity": "present"},
    {"label": "mood", "text": "Cries when the radio plays waltzes.", "term": "crying", "polarity": "present"},
    {"label": "mood", "text": "Sees no point in cards any more.", "term": "apathy", "polarity": "present"},
    {"label": "other", "text": "Denies tremor of the hands.", "term": "tremor", "polarity": "absent"},
    {"label": "other", "text": "Return to clinic in spring."},
]
WORDS = ["kitchen", "garden", "porch", "hallway", "church", "market", "window", "stairs", "piano", "letter", "basket",
         "kettle", "mirror", "ladder", "blanket", "candle", "drawer", "fence", "jacket", "lantern", "meadow"]  # fmt: skip


def toy_recipe(folder: Path, arms: dict[str, Any], **more: Any) -> Recipe:
    """Built from the models, not from YAML: the toy task's population and trajectory are never read here."""
    (folder / "toy").mkdir(parents=True, exist_ok=True)
    (folder / "toy" / "few.jsonl").write_text("\n".join(json.dumps(one) for one in EXEMPLARS), encoding="utf-8")
    arms = {name: {**arm, "path": folder / arm["path"]} if "path" in arm else arm for name, arm in arms.items()}
    file = RecipeFile.model_validate({"task": "toy", "seed": 7, "arms": arms, "mixes": ["all"], **more})
    mix = Mix.model_validate({"name": "all", "sources": [{"origin": arm, "repeat": 1.0} for arm in arms]})
    task = Task(file=TaskFile.model_validate(TASK), folder=folder / "toy")
    return Recipe(name="toy", path=folder / "toy.yaml", file=file, task=task, mixes=(mix,))


def toy_run(folder: Path, arms: dict[str, Any], *, held_out: str = "other", **more: Any) -> Run:
    """A run folder with gold and alignment tables; `held_out` is the label of all 50 held-out sentences.

    Further keys go into the recipe.
    """
    run = Run(recipe=toy_recipe(folder, arms, **more), folder=folder / "run")
    labels = ["memory"] * 5 + ["mood"] * 3 + ["other"] * 2
    rows = [gold_row(index, "train", label) for index, label in enumerate(labels)]
    rows += [gold_row(100 + index, "test" if index % 2 else "validation", held_out) for index in range(50)]
    write_table(run.path("cohort", "gold.parquet"), rows, GOLD)
    for spec, content in zip((PERSONAS, VISITS, MENTIONS), alignment_rows(), strict=True):
        write_table(run.path("alignment", f"{spec.name}.parquet"), content, spec)
    return run


def gold_row(index: int, split: str, label: str) -> dict[str, Any]:
    return {
        "sentence_id": f"s{index:03d}",
        "patient_id": f"q{index}",
        "split": split,
        "text": f"Text {index}.",
        "label": label,
    }


def alignment_rows(n_personas: int = 6, n_visits: int = 4) -> tuple[list[dict[str, Any]], ...]:
    personas, visits, mentions = [], [], []
    for index in range(n_personas):
        name = f"persona{index}"
        personas.append({"persona_id": name, "age_years": 70 + index, "age_band": "65-74", "cell_id": "c", "risk_factors": [],
                         "sex": "male" if index % 2 else "female", "race_ethnicity": f"race{index}"})  # fmt: skip
        for visit in range(n_visits):
            visits.append({"persona_id": name, "visit_index": visit, "days_before_diagnosis": 100 - visit,
                           "stage": STAGES[visit % 2], "note_type": "clinic"})  # fmt: skip
            planned = [(domain, term, "present") for domain, terms in TERMS.items() for term in terms]
            planned += [("mood", "anxiety", "absent"), ("memory", "gets lost", "absent")]
            for number, (domain, term, polarity) in enumerate(planned):
                label = domain if polarity == "present" else "other"
                mentions.append({"persona_id": name, "visit_index": visit, "mention_index": number, "domain": domain,
                                 "term": term, "label": label, "polarity": polarity})  # fmt: skip
    return personas, visits, mentions


def write_sentence(prompt: str, seed: int) -> str:
    """A sentence that holds the slot's term, different for each seed."""
    slot = prompt.rsplit("\n\n", 1)[-1]
    found = re.search(r"^(Finding|Denied): (.*)$", slot, re.MULTILINE)
    chosen = " ".join(random.Random(seed).sample(WORDS, 8))
    topic = "Seen" if found is None else f"Denies {found[2]}" if found[1] == "Denied" else f"Today {found[2]}"
    return f"{topic} near the {chosen}."


@contextmanager
def writing_server(write: Callable[[str, int], str] = write_sentence) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """A backend's settings, and the prompts the server has been sent."""
    prompts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompts.append(body["prompt"])
            choice = {"text": " " + write(body["prompt"], body["seed"]), "finish_reason": "stop"}
            self._send({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 7}})

        def _send(self, content: dict[str, Any]) -> None:
            encoded = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield (
            {"kind": "openai_api", "base_url": url, "model": "toy", "endpoint": "completions", "max_retries": 0},
            prompts,
        )
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
