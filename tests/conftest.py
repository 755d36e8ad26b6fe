"""What every test leaves as it found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands and libraries set levels for a process of their own; here the next test would inherit them."""
    root = logging.getLogger()
    before = {name: one.level for name, one in root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if handler not in handlers and type(handler) is logging.StreamHandler:  # pytest's own are of other types
            root.removeHandler(handler)
    for name, one in root.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            one.setLevel(before.get(name, one.level))
