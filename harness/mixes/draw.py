"""Which sentences a run shows, and how often.

Labels of a pool and a quota go in, row numbers and pass numbers come out. Of n examples from P rows every row is shown
floor(n / P) times and a random remainder once more, drawn so that labels keep their shares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.mixes.budget import largest_remainder


class Draw(NamedTuple):
    """Examples of one source, or of a whole mix in the order of the file.

    Attributes:
        rows: Row in the pool, shape (n_examples,).
        passes: How often that row came before, shape (n_examples,).
    """

    rows: NDArray[np.int64]
    passes: NDArray[np.int64]


def stratified(labels: NDArray[np.int64], n_rows: int, *, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n_rows` different rows, each label in proportion to its rows (within one); sorted.

    Args:
        labels: Label of each row as a number, shape (n_pool,).
        n_rows: At most n_pool.
        rng: Draws which rows of a label are taken.
    """
    if n_rows == labels.size:
        return np.arange(labels.size)
    known, n_of_label = np.unique(labels, return_counts=True)
    taken = [
        rng.choice(np.flatnonzero(labels == label), size=quota, replace=False)
        for label, quota in zip(known, largest_remainder(n_rows, n_of_label.tolist()), strict=True)
    ]
    return np.sort(np.concatenate(taken))


def draw_source(labels: NDArray[np.int64], *, n_rows: int, n_examples: int, rng: np.random.Generator) -> Draw:
    """Examples of one source, pass after pass.

    Args:
        labels: Label of each row of the pool as a number, shape (n_pool,).
        n_rows: Rows of the pool that take part, 1 to n_pool.
        n_examples: Examples to show.
        rng: Draws the rows that take part and the last, partial pass.
    """
    part = stratified(labels, n_rows, rng=rng)
    n_whole, n_rest = divmod(n_examples, part.size)
    rest = part[stratified(labels[part], n_rest, rng=rng)]
    return Draw(
        rows=np.concatenate([np.tile(part, n_whole), rest]),
        passes=np.concatenate([np.repeat(np.arange(n_whole), part.size), np.full(rest.size, n_whole)]),
    )


def shuffle_within_passes(passes: NDArray[np.int64], *, rng: np.random.Generator) -> NDArray[np.int64]:
    """An order of examples: pass 0 of all sources shuffled, then pass 1, and so on; shape (n_examples,)."""
    order = rng.permutation(passes.size)
    return order[np.argsort(passes[order], kind="stable")]
