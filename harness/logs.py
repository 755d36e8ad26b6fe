"""What libraries are told before they are imported, and logging for a clinical enclave: ids and counts only."""

from __future__ import annotations

import logging
import os
import warnings

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

# Threads that wait actively bring each other to a standstill on a machine that does something else as well; threads
# that sleep at once pay for it in small models. Waiting for some 30 microseconds is near the best of both: on two cores
# a training step of SmolLM2-135M takes 1.8 s alone and 3.6 s beside another one, which with the defaults is 13.7 s.
THREAD_DEFAULTS = {"GOMP_SPINCOUNT": "1000"}

NOISY_LOGGERS = ("httpx", "httpcore", "urllib3", "filelock", "datasets", "fsspec", "matplotlib")


def prepare_environment() -> None:
    """Turn the telemetry of our dependencies off and their threads considerate, unless the user's environment differs.

    Called before torch, transformers or wandb is imported: they read these once.
    """
    for name, value in {**PRIVATE_DEFAULTS, **THREAD_DEFAULTS}.items():
        os.environ.setdefault(name, value)
    # Deprecations between libraries: nobody who runs a recipe can mend them (in the tests every warning is an error).
    warnings.simplefilter("ignore", FutureWarning)


def configure(*, verbose: bool = False) -> None:
    """One line per stage on standard error; third-party chatter at WARNING and above."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
