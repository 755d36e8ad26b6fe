"""Logging for a clinical enclave: ids and counts only, and no dependency phones home."""

from __future__ import annotations

import logging
import os

# Set before any of these libraries is imported; a user's own setting wins.
PRIVATE_DEFAULTS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DS_LOG_LEVEL": "error",
}

NOISY_LOGGERS = ("httpx", "httpcore", "urllib3", "filelock", "datasets", "fsspec", "matplotlib")


def keep_private() -> None:
    """Turn the telemetry of our dependencies off unless the user's environment says otherwise."""
    for name, value in PRIVATE_DEFAULTS.items():
        os.environ.setdefault(name, value)


def configure(*, verbose: bool = False) -> None:
    """One line per stage on standard error; third-party chatter at WARNING and above."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
