import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.mixes.draw import draw_source, shuffle_within_passes, stratified
from harness.seeds import generator

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array)


@given(labels=LABELS, n_examples=st.integers(0, 1000), part=st.floats(0, 1))
def test_a_draw_is_exact_and_even(labels: np.ndarray, n_examples: int, part: float) -> None:
    n_rows = max(round(part * labels.size), 1)
    draw = draw_source(labels, n_rows=n_rows, n_examples=n_examples, rng=generator(1, "draw"))
    assert draw.rows.size == draw.passes.size == n_examples
    shown = np.bincount(draw.rows, minlength=labels.size)
    assert (shown > 0).sum() == min(n_rows, n_examples)
    if n_examples:
        assert shown.max() - n_examples // n_rows <= 1
        assert np.sort(shown)[-n_rows:].min() == n_examples // n_rows


@given(labels=LABELS, n_examples=st.integers(0, 1000))
def test_pass_index_counts_how_often_the_sentence_came_before(labels: np.ndarray, n_examples: int) -> None:
    draw = draw_source(labels, n_rows=labels.size, n_examples=n_examples, rng=generator(1, "draw"))
    before: dict[int, int] = {}
    for row, pass_index in zip(draw.rows.tolist(), draw.passes.tolist(), strict=True):
        assert pass_index == before.get(row, 0)
        before[row] = pass_index + 1


@given(labels=LABELS, part=st.floats(0, 1))
def test_labels_keep_their_shares_within_one_sentence(labels: np.ndarray, part: float) -> None:
    n_rows = round(part * labels.size)
    rows = stratified(labels, n_rows, rng=generator(1, "stratified"))
    assert np.unique(rows).size == rows.size == n_rows
    for label in np.unique(labels):
        expected = n_rows * (labels == label).mean()
        assert abs((labels[rows] == label).sum() - expected) < 1 + 1e-9


def test_the_rest_is_drawn_at_random() -> None:
    labels = np.zeros(50, dtype=np.int64)
    one, other = (draw_source(labels, n_rows=50, n_examples=60, rng=generator(seed, "draw")) for seed in (1, 2))
    assert set(one.rows[50:]) != set(other.rows[50:])


def test_passes_come_one_after_the_other_and_are_shuffled_inside() -> None:
    passes = np.repeat([0, 1, 0, 2], [30, 30, 20, 5])
    order = shuffle_within_passes(passes, rng=generator(1, "order"))
    assert sorted(order) == list(range(passes.size))
    assert (np.diff(passes[order]) >= 0).all()
    first_pass = order[:50]
    assert list(first_pass) != sorted(first_pass)
    assert (first_pass[:25] >= 60).any()  # both sources of pass 0 are mixed
    assert (first_pass[:25] < 30).any()
