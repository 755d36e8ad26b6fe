"""Which mixes of a recipe make a learning curve of gold, and which are read off it."""

from __future__ import annotations

from harness.schemas.mix import GOLD_ORIGIN, Mix, Source
from harness.schemas.recipe import Recipe

MIN_POINTS = 2  # different amounts of gold; the fits of harness/metrics/learning_curve.py may need more


def mixes_of_exchange(recipe: Recipe) -> tuple[Mix, ...]:
    """The points of the learning curve and the mixes that are read off it; none where there is no curve.

    Mixes with a budget of their own are left out, because a curve compares scores at one budget; so are mixes of two
    arms, whose worth cannot be told apart.
    """
    alike = [mix for mix in recipe.mixes if recipe.budget(mix) == recipe.file.training.budget]
    points = [mix for mix in alike if mix.regime == "TRTR"]
    if len({_part_of_gold(mix.sources[0]) for mix in points}) < MIN_POINTS:
        return ()
    return tuple(mix for mix in alike if len(set(mix.origins) - {GOLD_ORIGIN}) <= 1)


def _part_of_gold(source: Source) -> tuple[float, int | None, float]:
    return (source.patients or 1.0, source.count, min(source.repeat or 1.0, 1.0))
