"""A run folder brought as far as prompts need it: the stages up to alignment.

They are cheap, ask no model, and are needed anyway; run in the run's own folder they make prompts exact, so that a plan
speaks of the very requests that `harness run` will send.
"""

from __future__ import annotations

from pathlib import Path

from harness.pipeline import run_recipe
from harness.schemas.recipe import Recipe
from harness.store import Run

LAST_STAGE = "alignment"


def run_to_alignment(recipe: Recipe, folder: Path) -> Run:
    """Run what is not finished of the stages up to alignment.

    Raises:
        HarnessError: Whatever those stages raise.
    """
    for _ in run_recipe(recipe, folder, until=LAST_STAGE):
        pass
    return Run(recipe=recipe, folder=folder)
