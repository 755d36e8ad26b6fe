"""Whether what is trained on was written for this recipe: the mix, and the stages behind it.

Manifests are compared with the recipe and with each other. No table is read, so large ones cost nothing; files outside
the run are hashed where they are at hand. A stage that left nothing here is not judged: a run folder may have been
carried to a cluster from its mixes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.pipeline import STAGES
from harness.schemas.manifest import Manifest
from harness.schemas.recipe import Recipe
from harness.states import state_of
from harness.store import Run, Unit, read_manifest, sha256_file, unit_folder

MAX_SHOWN = 5
MAX_VALUE = 40  # characters; a longer value may be a template


def check_upstream(run: Run, cells: Sequence[Unit]) -> None:
    """Refuse to train on mixes that were written for other settings.

    Args:
        run: The run folder and its recipe.
        cells: Units of training.

    Raises:
        ConfigError: With the units behind the first such cell that differ, what differs, and what to do.
    """
    stages = takewhile(lambda name: name != "training", STAGES)
    earlier = {unit_folder(run, one): one for name in stages for one in STAGES[name](run)}
    for cell in cells:
        found = [f"{one.title}: {what}" for one in _behind(cell, earlier) for what in _differences(run, one)]
        if found:
            more = f"; and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
            raise ConfigError(
                f"{cell.title}: its mix was not written for this recipe ({'; '.join(found[:MAX_SHOWN])}{more}); give "
                f"the same --set as when it was, or write it again: harness run RECIPE --until mix"
            )


def check_cells(recipe: Recipe, folder: Path) -> None:
    """The same for all cells of a recipe."""
    run = Run(recipe=recipe, folder=folder)
    check_upstream(run, STAGES["training"](run))


def _behind(unit: Unit, earlier: Mapping[Path, Unit]) -> list[Unit]:
    """The units that wrote what `unit` reads, and what those read, in the order of stages."""
    found: set[Path] = set()
    waiting = [unit]
    while waiting:
        for path in waiting.pop().inputs:
            folder = next((one for one in path.parents if one in earlier), None)
            if folder is not None and folder not in found:
                found.add(folder)
                waiting.append(earlier[folder])
    return [one for folder, one in earlier.items() if folder in found]


def _differences(run: Run, unit: Unit) -> Iterator[str]:
    folder = unit_folder(run, unit)
    manifest = read_manifest(folder)
    if manifest is None:
        state = state_of(folder, finished=False)
        if state.status != "not begun":
            yield f"is {state.words}"
        return
    if manifest.root_seed != run.seed:
        yield f"seed is {manifest.root_seed} there, {run.seed} here"
    here = json.loads(json.dumps(dict(unit.settings), default=str))
    yield from _differing_settings(_flat(manifest.settings), _flat(here))
    yield from _differing_inputs(run, unit, manifest)


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`{"split": {"train": 0.5}}` -> `{"split.train": 0.5}`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{above}{name}"
        flat |= _flat(value, f"{key}.") if isinstance(value, dict) and value else {key: value}
    return flat


def _differing_settings(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key):
            shown = [_shown(one.get(key)) for one in (there, here)]
            yield f"{key} differs" if None in shown else f"{key} is {shown[0]} there, {shown[1]} here"


def _shown(value: object) -> str | None:
    """A number, a null or a single word; anything else might hold text of a prompt or a note."""
    said = json.dumps(value)
    return None if isinstance(value, (dict, list)) or len(said) > MAX_VALUE or " " in said else said


def _differing_inputs(run: Run, unit: Unit, manifest: Manifest) -> Iterator[str]:
    names = {(str(path.relative_to(run.folder)) if path.is_relative_to(run.folder) else path.name): path
             for path in unit.inputs}  # fmt: skip
    if set(names) != set(manifest.inputs):
        yield f"read {', '.join(sorted(manifest.inputs))} there, {', '.join(sorted(names))} here"
        return
    for name, path in names.items():
        now = _hash_now(run, path)
        if now is not None and now != manifest.inputs[name]:
            yield f"{name} has changed since"


def _hash_now(run: Run, path: Path) -> str | None:
    """As the manifest beside a table says; of a file from outside, its own; None where neither is at hand."""
    if not path.is_relative_to(run.folder):
        return sha256_file(path) if path.is_file() else None
    for folder in path.parents:
        if folder == run.folder:
            return None
        manifest = read_manifest(folder)
        if manifest is not None:
            return manifest.outputs.get(str(path.relative_to(folder)))
    return None
