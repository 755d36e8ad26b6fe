from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from harness.mixes.format import Wording
from harness.mixes.pools import Pool
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.tables import GOLD, SENTENCES
from harness.seeds import generator

LABELS = ("memory", "falls", "other")
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return generator(11, request.node.name)


@pytest.fixture
def unlike() -> Callable[..., list[str]]:
    """`unlike(n, "name")`: n invented sentences of random words, none near to another; the name seeds them."""

    def make(n: int, name: str) -> list[str]:
        rng = generator(3, "unlike", name)
        return [
            " ".join("".join(rng.choice(SYLLABLES, size=3)) for _ in range(int(rng.integers(7, 15)))) for _ in range(n)
        ]

    return make


@pytest.fixture
def pool() -> Callable[..., Pool]:
    """`pool(origin, texts)`: ids are the origin's first letter and the row; labels go round."""

    def make(origin: str, texts: Sequence[str], labels: Sequence[str] | None = None) -> Pool:
        n = len(texts)
        columns = {
            "sentence_id": [f"{origin[0]}{k}" for k in range(n)],
            "patient_id": [f"{origin}-p{k // 3}" for k in range(n)],
            "text": list(texts),
            "label": list(labels) if labels is not None else [LABELS[k % 3] for k in range(n)],
        }
        return Pool(origin, pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}))

    return make


@pytest.fixture
def gold_table() -> Callable[..., pa.Table]:
    """`gold_table(train=[...], validation=[...], test=[...])`: a gold table; three sentences a patient."""

    def make(**texts: Sequence[str]) -> pa.Table:
        rows = [
            {"sentence_id": f"{split[:2]}{k:04d}", "patient_id": f"{split}-p{k // 3}", "note_id": None, "split": split,
             "text": text, "label": LABELS[k % 3], "age_years": None, "sex": None, "age_band": None,
             "race_ethnicity": None, "stage": None}
            for split, given in texts.items() for k, text in enumerate(given)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=GOLD.schema)

    return make


@pytest.fixture
def sentence_table() -> Callable[..., pa.Table]:
    def make(texts: Sequence[str]) -> pa.Table:
        rows = [
            {"sentence_id": f"s{k:04d}", "text_id": f"t{k}", "persona_id": None if k % 2 else f"q{k}", "char_start": 0,
             "char_end": len(text), "text": text, "label": LABELS[k % 3], "label_source": "plan", "confidence": None,
             "sex": None, "age_band": None, "race_ethnicity": None, "stage": None}
            for k, text in enumerate(texts)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=SENTENCES.schema)

    return make


@pytest.fixture
def wording() -> Wording:
    return Wording(
        prompt=lambda text: f"Sentence: {text}\nLabel:",
        completions={label: f" {label}" for label in LABELS},
        n_tokens={"memory": 2, "falls": 3, "other": 4},
    )


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """`make_recipe(mixes={name: sources}, arms=[...], ...)`: a recipe on a toy task of YAML only, loaded."""

    def make(
        mixes: dict[str, list[dict[str, Any]]],
        *,
        arms: Sequence[str] = ("aligned", "plain"),
        training: dict[str, Any] | None = None,
        seed: int = 7,
    ) -> Recipe:
        values = [{"id": label, "name": label, "definition": f"about {label}"} for label in LABELS]
        task = {"id": "toy", "version": 1, "title": "Toy", "disease": "d", "labels": {"values": values}}
        _write(tmp_path / "toy" / "task.yaml", task)
        for name, sources in mixes.items():
            _write(tmp_path / "data_mixes" / f"{name}.yaml", {"sources": sources})
        (tmp_path / "gold.jsonl").touch()
        for arm in arms:
            (tmp_path / f"{arm}.jsonl").touch()
        content = {
            "task": "toy",
            "seed": seed,
            "gold": {"path": "gold.jsonl"},
            "arms": {arm: {"path": f"{arm}.jsonl"} for arm in arms},
            "mixes": list(mixes),
            "training": {"global_batch_size": 4, "budget": {"size": 10}, **(training or {})},
        }
        return load_recipe(_write(tmp_path / "recipe.yaml", content))

    return make


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
