from pytest import approx

from harness.generation.forecast import Ask, Rate, Rates, assumed_rates, at_most, expected, expected_attempts
from harness.schemas.prices import Price

ASK = Ask("arm", "m", n_texts=10, n_prompt_tokens=1000, is_counted=True, max_attempts=4, max_new_tokens=50,
          price=Price(prompt=2.0, completion=8.0), is_metered=True)  # fmt: skip
RATES = Rates(Rate(0.5, "measured"), Rate(20.0, "measured"), Rate(25.0, "measured"))


def test_attempts_by_hand() -> None:
    # kept at the first try with 1/2, at the second with 1/4, else two were asked: 1 x 1/2 + 2 x 1/2 = 1.5
    assert expected_attempts(0.5, 2) == approx(1.5)
    assert expected_attempts(1.0, 8) == 1.0
    assert expected_attempts(0.0, 8) == 8.0
    assert expected_attempts(0.01, 3) < 3


def test_expected_amounts_by_hand() -> None:
    found = expected(ASK, RATES)
    per_text = 1 + 0.5 + 0.25 + 0.125  # tries 1 to 4, each made if those before were dropped
    assert found.n_requests == approx(10 * per_text)
    assert found.n_prompt_tokens == approx(1000 * per_text)
    assert found.n_completion_tokens == approx(10 * per_text * 20)
    assert found.usd == approx((1875 * 2 + 375 * 8) / 1e6)
    assert found.seconds == approx(375 / 25)


def test_the_worst_case_is_every_attempt_and_the_longest_answer() -> None:
    found = at_most(ASK, RATES)
    assert (found.n_requests, found.n_prompt_tokens, found.n_completion_tokens) == (40, 4000, 2000)
    assert found.usd == approx((4000 * 2 + 2000 * 8) / 1e6)
    assert expected(ASK, RATES).n_tokens < found.n_tokens == 6000


def test_without_a_price_there_is_no_money_and_an_assumption_says_so() -> None:
    free = Ask("arm", "m", n_texts=10, n_prompt_tokens=1000, is_counted=False, max_attempts=4, max_new_tokens=50)
    rates = assumed_rates(free, is_served=False)
    assert expected(free, rates).usd is None
    assert {rates.acceptance.basis, rates.completion_tokens.basis, rates.tokens_per_s.basis} == {"assumed"}
