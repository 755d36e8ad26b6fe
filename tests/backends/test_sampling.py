import numpy as np
import torch
from pytest import approx

from harness.backends.sampling import draw, uniforms

LOGITS = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


def frequencies(n: int, **how: float) -> list[float]:
    u = torch.from_numpy((np.arange(n) + 0.5) / n)
    ids = draw(LOGITS.repeat(n, 1), u, **how)  # type: ignore[arg-type]
    return [float((ids == token).sum()) / n for token in range(4)]


def test_tokens_come_with_their_probability() -> None:
    assert frequencies(2000, temperature=1.0, top_p=1.0) == approx([0.5, 0.3, 0.15, 0.05], abs=0.001)


def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p() -> None:
    # 0.5 + 0.3 = 0.8 reaches 0.8; renormalised 0.625 and 0.375
    assert frequencies(1600, temperature=1.0, top_p=0.799) == approx([0.625, 0.375, 0, 0], abs=0.001)
    assert frequencies(1600, temperature=1.0, top_p=0.4) == [1.0, 0, 0, 0]


def test_temperature_sharpens_before_the_nucleus_is_cut() -> None:
    # squared probabilities: 0.25, 0.09, 0.0225, 0.0025 over 0.365
    expected = [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]
    assert frequencies(4000, temperature=0.5, top_p=1.0) == approx(expected, abs=0.001)


def test_a_nucleus_larger_than_the_guess_is_still_exact() -> None:
    n_vocabulary = 1000
    u = torch.from_numpy((np.arange(n_vocabulary) + 0.5) / n_vocabulary)
    ids = draw(torch.zeros(n_vocabulary, n_vocabulary), u, temperature=1.0, top_p=1.0)
    assert sorted(ids.tolist()) == list(range(n_vocabulary))


def test_a_row_draws_the_same_whatever_stands_beside_it() -> None:
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    u = uniforms([11, 12, 13, 14, 15], 3)
    together = draw(logits, u[:, 1], temperature=0.8, top_p=0.9)
    alone = [int(draw(logits[row : row + 1], u[row : row + 1, 1], temperature=0.8, top_p=0.9)) for row in range(5)]
    assert together.tolist() == alone


def test_each_seed_has_its_own_stream() -> None:
    u = uniforms([1, 2, 1], 50)
    assert torch.equal(u[0], u[2])
    assert not torch.equal(u[0], u[1])
    assert torch.equal(uniforms([2], 10)[0], u[1, :10])  # a longer stream begins like a shorter one
