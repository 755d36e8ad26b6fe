"""Whether and where the W&B record is written. Nothing goes online unless the recipe or the environment says so."""

from __future__ import annotations

import os
from typing import Literal, get_args

from harness.errors import ConfigError, nearest
from harness.schemas.recipe import Recipe

TrackingMode = Literal["offline", "online", "disabled"]
# wandb's other spellings of the same three.
SYNONYMS: dict[str, TrackingMode] = {"dryrun": "offline", "run": "online", "shared": "online"}


def tracking_mode(recipe: Recipe) -> TrackingMode:
    """The user's WANDB_MODE where it is set, else the recipe's `tracking.wandb.mode`.

    Raises:
        ConfigError: WANDB_MODE holds a word that W&B does not know.
    """
    found = os.environ.get("WANDB_MODE", "").strip().lower()
    if not found:
        return recipe.file.tracking.wandb.mode
    modes: dict[str, TrackingMode] = {**{mode: mode for mode in get_args(TrackingMode)}, **SYNONYMS}
    if found not in modes:
        raise ConfigError(f"WANDB_MODE is {found!r}{nearest(found, modes)}; known: {', '.join(modes)}; or unset it")
    return modes[found]
