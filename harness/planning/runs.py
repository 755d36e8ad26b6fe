"""A run folder opened by its recipe, or by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError
from harness.pipeline import RECIPE_FILE
from harness.schemas.recipe import load_recipe
from harness.store import Run


def opened_run(given: Path, overrides: Sequence[str], folder: Path | None) -> Run:
    """The run of a recipe, or the run in a folder.

    Args:
        given: A recipe's YAML, whose run lies in `folder` or in runs/<recipe>; or a run folder.
        overrides: `a.b=c` strings, as they were given to `harness run`.
        folder: The run folder where `given` is a recipe.

    Raises:
        ConfigError: A folder without a run, or whose recipe's file is gone.
    """
    if not given.is_dir():
        recipe = load_recipe(given, overrides)
        return Run(recipe=recipe, folder=(folder or Path("runs") / recipe.name).resolve())
    path = given / RECIPE_FILE
    if not path.is_file():
        raise ConfigError(f"{given}: holds no {RECIPE_FILE}, so it is no run folder; give a recipe or a run folder")
    source = Path(json.loads(path.read_text(encoding="utf-8"))["path"])
    if not source.is_file():
        raise ConfigError(f"{given}: its recipe {source} is gone; give the recipe's file and --run-dir {given}")
    return Run(recipe=load_recipe(source, overrides), folder=given.resolve())
