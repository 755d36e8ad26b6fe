from __future__ import annotations

import numpy as np
import pytest

from harness import seeds
from harness.metrics.closeness import histogram, nearest_cosine
from harness.metrics.fidelity import MEASURES, PARTS
from harness.metrics.separability import cross_validated_scores, keyword_learner, learnable_classes, text_learner

AXES = np.eye(3)


def test_the_nearest_is_found_and_a_persons_own_sentences_are_passed_over() -> None:
    near_x = np.array([0.8, 0.6, 0.0])
    assert nearest_cosine(AXES[:2], np.array([near_x])).tolist() == [0.8, 0.6]
    gold, patients = np.array([AXES[0], near_x, AXES[2]]), np.array([0, 0, 1])
    # of the first patient only the second patient's sentence is left, which is orthogonal
    assert nearest_cosine(gold, gold, groups=patients, reference_groups=patients).tolist() == [0.0, 0.0, 0.0]
    assert nearest_cosine(gold, gold).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = seeds.generator(0, "nearest")
    a, b = rng.normal(size=(70, 4)), rng.normal(size=(9, 4))
    whole = nearest_cosine(a, b)
    np.testing.assert_allclose(whole, (a @ b.T).max(axis=1))
    monkeypatch.setattr("harness.metrics.closeness.ROWS_PER_BLOCK", 8)
    np.testing.assert_allclose(nearest_cosine(a, b), whole)


def test_without_a_reference_there_is_no_nearest() -> None:
    assert np.isnan(nearest_cosine(AXES, np.zeros((0, 3)))).all()
    same = np.zeros(3, dtype=np.intp)
    assert np.isnan(nearest_cosine(AXES, AXES, groups=same, reference_groups=same)).all()


def test_bins_of_the_histogram_hold_every_value_once() -> None:
    shares = histogram(np.array([-0.2, 0.0, 0.04, 0.52, 1.0]))
    assert shares.shape == (20,)
    assert [shares[0], shares[10], shares[19]] == pytest.approx([0.6, 0.2, 0.2])
    assert shares.sum() == pytest.approx(1)
    assert histogram(np.zeros(0)).sum() == 0


def test_labels_too_rare_for_the_folds_cannot_be_examined() -> None:
    labels = ["a"] * 6 + ["b"] * 6 + ["c"] * 2 + ["d"] * 6
    people = [*"123456", *"123456", *"12", *"777777"]
    assert learnable_classes(labels, people, 5) == ["a", "b"]  # c in too few sentences, d in one person alone


def test_a_keyword_that_is_the_label_is_found_out_and_noise_is_not() -> None:
    rng = seeds.generator(0, "keywords")
    truth = np.repeat(np.arange(3, dtype=np.intp), 40)
    people = np.tile(np.arange(20, dtype=np.intp), 6)
    telling = np.eye(3, dtype=np.bool_)[truth]
    noise = rng.random((120, 3)) < 0.3
    accuracy = []
    for held in (telling, noise):
        learner = keyword_learner(held, truth, seed=1)
        scores = cross_validated_scores(learner, truth, people, n_folds=5, seed=1)
        np.testing.assert_allclose(scores.sum(axis=1), 1)
        accuracy.append((scores.argmax(axis=1) == truth).mean())
    assert accuracy[0] == 1
    assert accuracy[1] < 0.5


def test_no_learner_is_examined_on_people_it_has_met() -> None:
    # each person has a word and a label of its own: only who has met the person could know the label
    people = np.repeat(np.arange(20, dtype=np.intp), 4)
    truth = (people % 2).astype(np.intp)
    texts = [f"person{one} says nothing new" for one in people]
    scores = cross_validated_scores(text_learner(texts, truth, seed=1), truth, people, n_folds=5, seed=1)
    assert (scores.argmax(axis=1) == truth).mean() < 0.7


def test_a_fold_that_teaches_one_class_alone_predicts_it() -> None:
    truth = np.array([0, 0, 0, 1], dtype=np.intp)
    people = np.array([0, 0, 0, 1], dtype=np.intp)
    learner = text_learner(["a", "b", "c", "d"], truth, seed=1)
    with pytest.warns(UserWarning, match="least populated class"):
        scores = cross_validated_scores(learner, truth, people, n_folds=2, seed=1)
    assert scores.argmax(axis=1).tolist() == [1, 1, 1, 0]


def test_every_measure_says_what_it_means() -> None:
    assert len(MEASURES) > 25
    for measure in MEASURES.values():
        assert measure.meaning.endswith(".") and measure.title and measure.source
        assert measure.bounds[0] < measure.bounds[1] and measure.part in PARTS
