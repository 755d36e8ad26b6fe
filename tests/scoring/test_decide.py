"""Probability and decision, from numbers small enough to follow."""

from __future__ import annotations

import numpy as np
import pytest

from harness.schemas.recipe_parts import Scoring
from harness.scoring.decide import decide, softmax
from harness.scoring.label_likelihood import LabelScores

NAMES = ("memory", "activities of daily living")
FOUND = LabelScores(
    log_likelihood=np.array([[-2.0, -3.0], [-8.0, -6.0], [-1.0, -4.0]]),
    n_tokens=np.array([[2, 5]] * 3),
    written=np.array([1, 1, 0]),
    freely=np.array([False, True, True]),
)


def test_probabilities_add_up_to_one_and_keep_the_order() -> None:
    # exp(-1) / (exp(-1) + exp(-3)) = 1 / (1 + exp(-2)) = 0.880797; the second row would underflow without the shift
    found = softmax(np.array([[-1.0, -3.0], [-2000.0, -2000.0]]))
    np.testing.assert_allclose(found, [[0.880797, 0.119203], [0.5, 0.5]], atol=1e-6)


def test_by_default_the_likeliest_label_is_predicted() -> None:
    found = decide(FOUND, NAMES, Scoring())
    assert found.predicted.tolist() == [0, 1, 0]
    assert found.parse_status is None
    np.testing.assert_allclose(found.probability, softmax(FOUND.log_likelihood))


@pytest.mark.parametrize(("by", "lengths"), [("tokens", (2, 5)), ("characters", (6, 26))])
def test_length_divides_the_log_likelihood(by: str, lengths: tuple[int, int]) -> None:
    found = decide(FOUND, NAMES, Scoring.model_validate({"length_normalisation": by}))
    np.testing.assert_allclose(found.probability, softmax(FOUND.log_likelihood / np.array(lengths)))
    assert found.predicted[0] == 1  # -2/2 < -3/5 and -2/6 < -3/26: the longer label wins
    np.testing.assert_array_equal(found.log_likelihood, FOUND.log_likelihood)  # the table keeps what the model said


def test_the_content_free_prior_is_taken_off_before_the_length_divides() -> None:
    settings = Scoring(label_prior="content_free", length_normalisation="tokens")
    found = decide(FOUND, NAMES, settings)
    assert found.log_likelihood.shape == (2, 2)  # the last row was the prompt without content
    # (-2 + 1) / 2 = -0.5, (-3 + 4) / 5 = 0.2; (-8 + 1) / 2 = -3.5, (-6 + 4) / 5 = -0.4
    np.testing.assert_allclose(found.probability, softmax(np.array([[-0.5, 0.2], [-3.5, -0.4]])))
    assert found.predicted.tolist() == [1, 1]


def test_a_generated_label_is_predicted_even_where_another_is_likelier() -> None:
    found = decide(FOUND, NAMES, Scoring(method="generate"))
    assert found.predicted.tolist() == [1, 1, 0]
    assert found.parse_status == ("constrained", "free", "free")
    np.testing.assert_allclose(found.probability, softmax(FOUND.log_likelihood))


def test_no_sentences_are_no_rows() -> None:
    none = LabelScores(np.zeros((0, 2)), np.zeros((0, 2), np.int64), np.zeros(0, np.intp), np.zeros(0, np.bool_))
    assert decide(none, NAMES, Scoring()).probability.shape == (0, 2)
