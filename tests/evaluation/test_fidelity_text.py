from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness import seeds
from harness.evaluation.fidelity_rows import Resampled, Rows, resample
from harness.evaluation.fidelity_target import Shares
from harness.evaluation.fidelity_text import (
    Sentences,
    closeness_rows,
    count_labels,
    diversity_rows,
    keyword_rows,
    label_rows,
    length_rows,
    two_sample_row,
)
from harness.words import words

LABELS = ("hands", "feet", "other")


def sentences(texts: Sequence[str], labels: Sequence[str] = (), held: Sequence[Sequence[int]] = ()) -> Sentences:
    n = len(texts)
    return Sentences(
        texts=texts,
        labels=labels or ["other"] * n,
        persons=[f"p{place % 20}" for place in range(n)],
        tokens=[words(text) for text in texts],
        held=np.array(held, dtype=np.bool_).reshape(n, -1) if held else np.zeros((n, 0), dtype=np.bool_),
        vectors=np.eye(max(n, 1))[:n],
    )


def draws(found: Sentences) -> Resampled:
    return resample(len(set(found.persons)), n_replicates=300, confidence=0.95, rng=seeds.generator(0, "text"))


def values(rows: Rows) -> dict[str, Any]:
    return {f"{row['measure']}/{row['level']}": row["value"] for row in rows.rows}


def test_labels_by_hand_against_gold_and_trajectory() -> None:
    rows = Rows("ours")
    expected = Shares({"hands": 1.0}, {"hands": "assumed"})
    label_rows(
        rows, count_labels(["hands", "hands", "feet", "other"], LABELS), {"hands": 1, "feet": 1, "other": 2}, expected
    )
    found = values(rows)
    assert [found[f"label_share/{label}"] for label in LABELS] == [0.5, 0.25, 0.25]
    assert found["label_tv/gold"] == pytest.approx(0.25)  # half of 1/4 + 0 + 1/4
    assert found["label_tv/trajectory"] == pytest.approx(0.5)
    assert [row["mark"] for row in rows.rows if row["measure"] == "label_tv"] == ["gold", "assumed"]


def test_a_label_without_sentences_has_share_zero_and_an_empty_arm_has_none() -> None:
    rows = Rows("ours")
    label_rows(rows, count_labels(["feet"], LABELS), {"hands": 1, "feet": 1, "other": 0}, None)
    assert values(rows)["label_share/hands"] == 0
    rows = Rows("ours")
    label_rows(rows, count_labels([], LABELS), {"hands": 1, "feet": 1, "other": 0}, None)
    assert {(row["status"], row["value"]) for row in rows.rows} == {("undefined", None)}


def test_length_by_hand() -> None:
    ours, gold = sentences(["a b", "a b c d"]), sentences(["a b", "a b c", "a b c d"])
    rows = Rows("ours")
    length_rows(rows, ours, gold, draws(ours))
    found = {row["measure"]: row for row in rows.rows}
    assert (found["words_mean"]["value"], found["words_mean"]["target"]) == (3, 3)
    assert found["words_sd"]["value"] == pytest.approx(2**0.5)  # deviations -1 and 1, over one degree of freedom
    assert found["words_sd"]["target"] == 1
    assert found["length_ks"]["value"] == pytest.approx(1 / 6)  # at 2 words: a half against a third


@pytest.mark.parametrize("texts", [[], ["Alone at the window."]])
def test_an_empty_arm_and_one_sentence_are_undefined_where_they_must_be(texts: list[str]) -> None:
    ours, gold = sentences(texts), sentences([f"Gold sentence number {place}." for place in range(30)])
    rows = Rows("ours")
    length_rows(rows, ours, gold, draws(ours))
    diversity_rows(rows, ours, list(range(len(texts))), {})
    keyword_rows(rows, ours, n_folds=5, seed=1, resampled=draws(ours))
    two_sample_row(rows, ours, gold, n_folds=5, seed=1, rng=seeds.generator(0, "two"))
    closeness_rows(rows, np.full(len(texts), np.nan), split="train", groups=ours.groups, threshold=0.9, gold=None,
                   resampled=draws(ours))  # fmt: skip
    found = {f"{row['measure']}/{row['level']}": row for row in rows.rows}
    always = ("words_sd/all", "self_bleu/all", "keyword_macro_f1/all", "two_sample_auc/all", "nearest_gold/all")
    for place in (*always, *(() if texts else ("words_mean/all", "length_ks/all", "distinct/1", "vendi/all"))):
        assert found[place]["value"] is None and found[place]["status"] == "undefined" and found[place]["reason"], place


def test_closeness_by_hand() -> None:
    ours = sentences(["a", "b", "c", "d"])
    rows = Rows("ours")
    cosines = np.array([0.2, 0.5, 0.95, np.nan])
    closeness_rows(rows, cosines, split="train", groups=ours.groups, threshold=0.9, gold=np.array([0.4, np.nan, 0.6]),
                   resampled=draws(ours))  # fmt: skip
    found = {f"{row['measure']}/{row['level']}": row for row in rows.rows}
    assert found["nearest_gold/all"]["value"] == pytest.approx(0.55)
    assert found["nearest_gold/all"]["target"] == pytest.approx(0.5)
    near = found["near_gold_share/all"]
    assert (near["value"], near["n"]) == (pytest.approx(1 / 3), 3)
    assert near["reason"] == "cosine above 0.9; the nearest has 0.950"
    bins = [row for row in rows.rows if row["measure"] == "nearest_gold_share"]
    assert len(bins) == 20 and sum(row["value"] for row in bins) == pytest.approx(1)
    assert found["nearest_gold_share/0.95"]["value"] == pytest.approx(1 / 3)


def labelled(n: int) -> tuple[list[str], list[str]]:
    """Sentences whose words tell the label, by a keyword in two labels of three."""
    told = {"hands": "tremor in the fingers", "feet": "limp on the stairs", "other": "came by bus"}
    labels = [LABELS[(place // 20) % 3] for place in range(n)]
    return [f"Visit {place}: {told[label]}." for place, label in enumerate(labels)], labels


def test_keywords_that_are_labels_are_found_out() -> None:
    texts, labels = labelled(120)
    ours = sentences(texts, labels, [[label == "hands", label == "feet"] for label in labels])
    rows = Rows("ours")
    keyword_rows(rows, ours, n_folds=5, seed=1, resampled=draws(ours))
    found = {row["measure"]: row for row in rows.rows}
    assert found["majority_macro_f1"]["value"] == pytest.approx(
        (0.5 + 0 + 0) / 3
    )  # 40 of 120: F1 = 2 x 40 / (40 + 120)
    assert found["keyword_macro_f1"]["value"] == 1 and found["text_macro_f1"]["value"] == 1
    assert found["text_over_keywords"]["value"] == 0
    assert found["keyword_macro_f1"]["ci_low"] == 1


def test_keywords_that_no_sentence_holds_tell_nothing_and_the_text_does() -> None:
    texts, labels = labelled(120)
    ours = sentences(texts, labels, [[0, 0]] * 120)
    rows = Rows("ours")
    keyword_rows(rows, ours, n_folds=5, seed=1, resampled=draws(ours))
    found = {row["measure"]: row for row in rows.rows}
    assert found["keyword_macro_f1"]["value"] <= 1 / 3
    assert found["text_over_keywords"]["value"] > 0.6
    assert found["text_over_keywords"]["ci_low"] > 0.4


def test_a_label_too_rare_to_examine_is_left_out_by_name() -> None:
    texts, labels = labelled(120)
    labels = [*labels[:-2], "rare", "rare"]
    rows = Rows("ours")
    ours = sentences(texts, labels, [[0]] * 120)
    keyword_rows(rows, ours, n_folds=5, seed=1, resampled=draws(ours))
    assert {row["reason"] for row in rows.rows} == {"left out as too rare: rare"}
    assert {row["n"] for row in rows.rows} == {118}


def test_without_a_lexicon_there_are_no_keywords() -> None:
    texts, labels = labelled(60)
    rows = Rows("ours")
    ours = sentences(texts, labels)
    keyword_rows(rows, ours, n_folds=5, seed=1, resampled=draws(ours))
    assert {row["reason"] for row in rows.rows} == {"the task has no lexicon"}


def test_another_language_is_told_apart_and_the_same_is_not() -> None:
    rng = seeds.generator(0, "words")
    bag = [f"w{place}" for place in range(30)]

    def some(prefix: str) -> Sentences:
        return sentences([" ".join(prefix + str(word) for word in rng.choice(bag, 8)) for _ in range(100)])

    auc = []
    gold = some("a")
    for ours in (some("b"), some("a")):
        rows = Rows("ours")
        two_sample_row(rows, ours, gold, n_folds=5, seed=1, rng=seeds.generator(0, "two"))
        auc.append(rows.rows[0]["value"])
    assert auc[0] == 1
    assert abs(auc[1] - 0.5) < 0.15
