"""Fixtures over the invented run; what it holds stands in `invented_run.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invented_run import SEES, FolderBuilder, make_recipe, sentence

from harness.reports import stage
from harness.reports.inputs import Inputs
from harness.store import Run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Builds a finished run up to the evaluation; keyword arguments change the recipe."""

    def make(name: str = "one", arms: tuple[str, ...] = ("unguided", "dualalign"), **changes: Any) -> Run:
        recipe = make_recipe(tmp_path, arms=arms, **changes)
        return FolderBuilder(recipe, tmp_path / "runs" / name).build()

    return make


@pytest.fixture
def inputs(make_run: Callable[..., Run]) -> Inputs:
    return stage.read_inputs(make_run())


@pytest.fixture
def all_arms(make_run: Callable[..., Run]) -> Inputs:
    return stage.read_inputs(make_run(arms=tuple(SEES)))


@pytest.fixture
def gold_texts() -> list[str]:
    return [sentence("gold", index) for index in range(96)]


@pytest.fixture
def synthetic_texts() -> list[str]:
    return [sentence(arm, index) for arm in SEES for index in range(40)]
