import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.mixes.budget import largest_remainder, plan, updates_of_epochs, updates_of_tokens
from harness.schemas.mix import Mix, Source

PARTS = st.lists(st.floats(0.001, 1000), min_size=1, max_size=6)


@given(total=st.integers(0, 100_000), parts=PARTS)
def test_parts_add_up_and_none_is_off_by_one(total: int, parts: list[float]) -> None:
    found = largest_remainder(total, parts)
    assert sum(found) == total
    for whole, part in zip(found, parts, strict=True):
        assert abs(whole - total * part / sum(parts)) < 1 + 1e-6


def test_largest_remainder_by_hand() -> None:
    # 10 x (0.46, 0.27, 0.27) = 4.6, 2.7, 2.7: whole parts 4 + 2 + 2, the two missing go to the remainders 0.7
    assert largest_remainder(10, [0.46, 0.27, 0.27]) == [4, 3, 3]


@given(
    parts=PARTS,
    sizes=st.lists(st.integers(1, 500), min_size=6, max_size=6),
    n_examples=st.integers(10_000, 50_000),
)
def test_shares_meet_the_budget_whatever_the_pools(parts: list[float], sizes: list[int], n_examples: int) -> None:
    shares = [part / sum(parts) for part in parts]
    if min(shares) * n_examples < 1:
        shares = [1 / len(parts)] * len(parts)
    mix = Mix(name="m", sources=tuple(Source(origin=f"a{k}", share=share) for k, share in enumerate(shares)))
    quotas = plan(mix, {f"a{k}": size for k, size in enumerate(sizes)}, n_examples=n_examples)
    assert sum(quota.n_examples for quota in quotas) == n_examples
    assert [quota.n_rows for quota in quotas] == sizes[: len(shares)]
    for quota, share in zip(quotas, shares, strict=True):
        assert abs(quota.n_examples - share * n_examples) < 1 + 1e-6


@given(repeat=st.floats(0.1, 5), count=st.integers(1, 300), n_examples=st.integers(2_000, 9_000))
def test_repeat_and_count_meet_the_budget_too(repeat: float, count: int, n_examples: int) -> None:
    mix = Mix(name="m", sources=(Source(origin="gold", repeat=repeat), Source(origin="arm", count=count)))
    gold, arm = plan(mix, {"gold": 200, "arm": 300}, n_examples=n_examples)
    assert gold.n_examples + arm.n_examples == n_examples
    assert gold.n_rows == min(round(200 * repeat), 200)
    assert arm.n_rows == count


def test_repeat_sets_the_proportion_in_which_sources_are_shown() -> None:
    mix = Mix(name="m", sources=(Source(origin="gold", repeat=2.0), Source(origin="arm", repeat=0.5)))
    gold, arm = plan(mix, {"gold": 100, "arm": 200}, n_examples=900)
    # one round shows 2 x 100 of gold and 100 of the arm
    assert (gold.n_rows, gold.n_examples) == (100, 600)
    assert (arm.n_rows, arm.n_examples) == (100, 300)


def test_all_sources_that_are_too_small_are_named_together() -> None:
    mix = Mix(name="m", sources=(Source(origin="gold", count=9), Source(origin="arm", repeat=1)))
    with pytest.raises(DataError) as caught:
        plan(mix, {"gold": 8, "arm": 0}, n_examples=100)
    assert str(caught.value) == (
        "mix m: 2 faults\n"
        "  - gold: count is 9, but 8 sentences are left after the audit; ask for fewer, or use share or repeat\n"
        "  - arm: no sentences are left after the audit; generate more, or drop this source"
    )


def test_a_share_of_an_arm_without_sentences_is_refused() -> None:
    mix = Mix(name="m", sources=(Source(origin="gold", share=0.5), Source(origin="arm", share=0.5)))
    with pytest.raises(DataError, match="arm: no sentences are left after the audit"):
        plan(mix, {"gold": 8, "arm": 0}, n_examples=100)


def test_a_source_that_would_never_be_shown_is_refused() -> None:
    mix = Mix(name="m", sources=(Source(origin="gold", share=0.99), Source(origin="arm", share=0.01)))
    with pytest.raises(DataError, match="arm: gets none of the 16 examples of a run; raise the budget or its part"):
        plan(mix, {"gold": 8, "arm": 8}, n_examples=16)


def test_epochs_by_hand() -> None:
    # 2 x 50 sentences in updates of 16: 6.25, so the seventh update is filled up
    assert updates_of_epochs(2, 50, global_batch=16) == 7
    assert updates_of_epochs(1, 16, global_batch=16) == 1
    with pytest.raises(DataError, match="an epoch of no sentences has no length"):
        updates_of_epochs(1, 0, global_batch=16)


@given(tokens=st.lists(st.integers(1, 9), min_size=1, max_size=60), budget=st.integers(40, 5_000))
def test_supervised_tokens_come_within_one_global_batch_of_the_budget(tokens: list[int], budget: int) -> None:
    batch = 4

    def tokens_of(updates: int) -> int:  # rows repeat, in their order, until the updates are full
        rounds, rest = divmod(updates * batch, len(tokens))
        return rounds * sum(tokens) + sum(tokens[:rest])

    expected = batch * sum(tokens) / len(tokens)
    updates = updates_of_tokens(budget, tokens_of, expected=expected, mix="m")
    assert abs(tokens_of(updates) - budget) <= batch * max(tokens)


def test_an_average_that_was_off_is_made_up_for() -> None:
    # 64 tokens an update were expected, 70 come: 7000 / 64 gives 109 updates, but 100 meet the budget
    assert updates_of_tokens(7000, lambda n: 70 * n, expected=64.0, mix="m") == 100


def test_a_budget_of_less_than_half_an_update_is_refused() -> None:
    with pytest.raises(DataError, match=r"mix m: a budget of 30 supervised tokens is less than .* \(64 tokens\)"):
        updates_of_tokens(30, lambda n: 64 * n, expected=64.0, mix="m")


def test_a_mix_with_zero_supervised_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="mix m: no example has a supervised token, so there is nothing to learn from"):
        updates_of_tokens(30, lambda _: 0, expected=0.0, mix="m")
