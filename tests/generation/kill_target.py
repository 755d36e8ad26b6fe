"""Generates one arm of the toy task with the embedded model; the resume test starts this and kills it."""

import sys
from pathlib import Path

from toy_arms import toy_recipe

from harness.generation.stage import units
from harness.store import Run, unit_folder

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    arms = {"dual": {"sees": ["label"], "n_sentences": int(sys.argv[2]),
                     "backend": {"kind": "embedded", "batch_size": 4},
                     "sampling": {"temperature": 0.6, "max_new_tokens": 16, "max_attempts": 3}}}  # fmt: skip
    run = Run(recipe=toy_recipe(folder, arms), folder=folder / "run")
    (unit,) = units(run)
    unit_folder(run, unit).mkdir(parents=True, exist_ok=True)
    unit.work(unit_folder(run, unit))
