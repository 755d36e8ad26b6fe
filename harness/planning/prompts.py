"""The prompts of a recipe's arms in files, for any other system, or people, to answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError, Faults, nearest
from harness.generation.export import prompt_rows
from harness.generation.manner import template_name
from harness.generation.stage import manner
from harness.planning.aligned import run_to_alignment
from harness.schemas.recipe import Recipe
from harness.store import write_text


def write_prompts(recipe: Recipe, folder: Path, out: Path, arms: Sequence[str] = ()) -> dict[Path, int]:
    """Write each arm's prompts of the first attempt as `<out>/<arm>.jsonl`, for anybody to answer.

    Args:
        recipe: The loaded recipe.
        folder: The run folder; stages up to alignment are run there.
        out: Where the files go.
        arms: Names; all generated arms where none is given.

    Returns:
        The files with their number of prompts.

    Raises:
        ConfigError: Unknown arms, or arms that are files; all of them. A recipe whose arms are all files.
    """
    chosen = list(arms) or [name for name, arm in recipe.arms.items() if arm.path is None]
    faults = Faults(str(recipe.path))
    for name in chosen:
        if name not in recipe.arms:
            faults.add(f"no arm {name!r}{nearest(name, recipe.arms)}; known: {', '.join(recipe.arms) or 'none'}")
        elif recipe.arms[name].path is not None:
            faults.add(f"arm {name!r} is a file; only generated arms have prompts")
    if not chosen:
        faults.add("no arm of this recipe writes sentences")
    if faults.messages:
        raise ConfigError(faults.render())
    run = run_to_alignment(recipe, folder)
    written: dict[Path, int] = {}
    for name in chosen:
        how = manner(run, name)
        template = template_name(recipe.task, recipe.arms[name])
        rows = prompt_rows(how, how.build(how.slots, 0), arm=name, template=template)
        path = out / f"{name}.jsonl"
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        written[path] = len(rows)
    return written
