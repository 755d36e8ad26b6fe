from __future__ import annotations

import math

import numpy as np
import pytest

from harness import seeds
from harness.metrics.diversity import distinct, self_bleu, vendi


def texts(*sentences: str) -> list[list[str]]:
    return [sentence.split() for sentence in sentences]


def test_distinct_by_hand() -> None:
    given = texts("she forgets names", "she forgets keys")
    assert distinct(given, 1).value == pytest.approx(4 / 6)  # she, forgets, names, keys
    assert distinct(given, 2).value == pytest.approx(3 / 4)  # she forgets twice
    assert distinct(given, 3).value == 1
    assert (distinct(given, 4).status, distinct(given, 4).reason) == ("undefined", "no text has 4 words")


def test_self_bleu_by_hand() -> None:
    # "a b c d" against "a b c e" and back, both the same by symmetry:
    # 1-grams 3/4, 2-grams 2/3, 3-grams 1/2, 4-grams none of 1, so 0.1/1; equal lengths, no penalty
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** (1 / 4)
    assert self_bleu(texts("a b c d", "a b c e")).value == pytest.approx(expected)


def test_self_bleu_clips_by_the_richest_other_text() -> None:
    # "a a": of its two a's the other text has one, so 1/2; of the pair "a a" none, so 0.1/1. Closest length 1: no penalty.
    # "a": its a stands in the other text, 1/1; shorter than the closest reference of 2: exp(1 - 2/1)
    expected = (math.sqrt(1 / 2 * 0.1) + math.exp(-1)) / 2
    assert self_bleu(texts("a a", "a")).value == pytest.approx(expected)


def test_self_bleu_of_copies_is_one_and_of_strangers_low() -> None:
    assert self_bleu(texts(*["mother forgets the stove again"] * 3)).value == pytest.approx(1)
    strange = self_bleu(texts("a b c d e", "f g h i j", "k l m n o")).value
    assert strange is not None and strange < 0.05


def test_diversity_does_not_depend_on_order() -> None:
    rng = seeds.generator(0, "diversity")
    given = [[str(word) for word in rng.integers(9, size=rng.integers(3, 9))] for _ in range(30)]
    for measure in (self_bleu, lambda some: distinct(some, 2)):
        assert measure(given[::-1]).value == pytest.approx(measure(given).value)
    vectors = rng.normal(size=(30, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vendi(vectors[::-1]).value == pytest.approx(vendi(vectors).value)


def test_one_text_has_no_self_bleu() -> None:
    found = self_bleu([["alone"], []])
    assert (found.status, found.reason) == ("undefined", "1 text with words; at least 2 are needed")


@pytest.mark.parametrize("n_dimensions", [6, 40])  # fewer and more than texts: either matrix is the smaller one
def test_vendi_counts_orthogonal_texts_and_sees_through_copies(n_dimensions: int) -> None:
    basis = np.eye(n_dimensions)[:6]
    assert vendi(basis).value == pytest.approx(6)
    assert vendi(np.repeat(basis[:1], 9, axis=0)).value == pytest.approx(1)
    assert vendi(np.repeat(basis[:3], 4, axis=0)).value == pytest.approx(3)


def test_vendi_by_hand() -> None:
    # two texts of cosine 1/2: eigenvalues of the halved matrix are 3/4 and 1/4
    vectors = np.array([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    assert vendi(vectors).value == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert vendi(np.zeros((0, 4))).status == "undefined"
