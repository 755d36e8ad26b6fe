"""Libraries that only a user's own cohort needs."""

from __future__ import annotations

import importlib
from typing import Any

from harness.errors import ConfigError

INSTALL = "pip install -e '.[cohort]'"


def optional(module: str, purpose: str) -> Any:
    """Import a library of the `cohort` extra.

    Raises:
        ConfigError: It is not installed; with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ConfigError(f"{purpose} needs {name}, which is not installed; in the clone: {INSTALL}") from error
