"""How many examples of each source a run shows.

A mix and the sizes of its pools go in; rows per source come out, and they add up to whole updates exactly. At a budget
of updates all mixes of a recipe show the same number of examples, so that a difference between two of them is not one
of training longer; at a budget of supervised tokens they show the same number of those, within one global batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import DataError, collect_faults
from harness.schemas.mix import Mix, Source


@dataclass(frozen=True)
class Quota:
    """What a source gives.

    Attributes:
        origin: `gold`, or the arm's name.
        n_rows: Distinct sentences that may be shown: the pool, or the part of it that `count` or a `repeat` below 1
            asks for.
        n_examples: Examples shown; more than `n_rows` when sentences repeat.
    """

    origin: str
    n_rows: int
    n_examples: int


def largest_remainder(total: int, parts: Sequence[float]) -> list[int]:
    """Split `total` in proportion to `parts`, in whole numbers that add up to it; none is off by one or more.

    Of equal remainders the earlier part is served first.

    Source: Hare-Niemeyer method; Balinski, Young, Fair Representation, 2nd ed. (2001), ch. 3.
    """
    exact = total * np.asarray(parts, dtype=np.float64) / np.sum(parts, dtype=np.float64)
    whole = np.floor(exact).astype(np.int64)
    short = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:short]] += 1
    return [int(one) for one in whole]


def updates_of_epochs(epochs: int, n_distinct: int, *, global_batch: int) -> int:
    """Updates that show `n_distinct` sentences `epochs` times on average; the last one is filled up, so it rounds up.

    Raises:
        DataError: There is nothing to show.
    """
    if n_distinct < 1:
        raise DataError("an epoch of no sentences has no length; generate more, or drop the source")
    return -(-epochs * n_distinct // global_batch)


def updates_of_tokens(budget: int, tokens_of: Callable[[int], int], *, expected: float, mix: str) -> int:
    """Updates whose supervised tokens come nearest to a budget: at most half an update's tokens away, up to the draw.

    Args:
        budget: Supervised tokens of a run.
        tokens_of: Supervised tokens of a run of so many updates, which grows almost evenly with them.
        expected: Supervised tokens of one update on average.
        mix: Its name, for errors.

    Raises:
        DataError: The mix has no supervised token, or the budget is less than half of one update.
    """
    if expected <= 0:
        raise DataError(f"mix {mix}: no example has a supervised token, so there is nothing to learn from")
    if 2 * budget < expected:
        raise DataError(f"mix {mix}: a budget of {budget} supervised tokens is less than half of one update "
                        f"({expected:.0f} tokens); raise the budget or lower training.global_batch_size")  # fmt: skip
    off: dict[int, int] = {}
    updates = max(1, round(budget / expected))
    while updates not in off:
        tokens = tokens_of(updates)
        off[updates] = tokens - budget
        updates = max(1, updates - round((tokens - budget) / expected))
    return min(off, key=lambda number: (abs(off[number]), number))


def plan(mix: Mix, pool_sizes: Mapping[str, int], *, n_examples: int) -> tuple[Quota, ...]:
    """Examples of every source of a mix, in its order.

    Shares are of the budget. Where the mix says `repeat` or `count`, these fix which rows take part and in what
    proportion, and the whole is then repeated, or cut, to the budget.

    Args:
        mix: The mix.
        pool_sizes: Origin to sentences left after the audit.
        n_examples: The budget: updates times the global batch size.

    Raises:
        DataError: A source has no sentences left, fewer than its `count`, or no example in so small a budget; all such
            sources are named.
    """
    with collect_faults(DataError, f"mix {mix.name}") as faults:
        for source in mix.sources:
            left = pool_sizes[source.origin]
            if left == 0:
                faults.add(
                    f"{source.origin}: no sentences are left after the audit; generate more, or drop this source"
                )
            elif source.count is not None and source.count > left:
                faults.add(f"{source.origin}: count is {source.count}, but {left} sentences are left after the audit; "
                           "ask for fewer, or use share or repeat")  # fmt: skip
    sizes = [_round(source, pool_sizes[source.origin]) for source in mix.sources]
    proportions = [source.share or size for source, size in zip(mix.sources, sizes, strict=True)]
    quotas = tuple(
        Quota(origin=source.origin, n_rows=min(size, pool_sizes[source.origin]), n_examples=shown)
        for source, size, shown in zip(mix.sources, sizes, largest_remainder(n_examples, proportions), strict=True)
    )
    with collect_faults(DataError, f"mix {mix.name}") as faults:
        for quota in quotas:
            if quota.n_examples == 0:
                faults.add(
                    f"{quota.origin}: gets none of the {n_examples} examples of a run; raise the budget or its part"
                )
    return quotas


def _round(source: Source, n_pool: int) -> int:
    """Examples that one round over the source shows; more than the pool where `repeat` is above 1."""
    if source.count is not None:
        return source.count
    if source.repeat is not None:
        return max(round(source.repeat * n_pool), 1)
    return n_pool
