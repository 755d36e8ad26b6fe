"""Generates one arm of the toy task from a server; the test of hostile servers starts this, and kills it once."""

import sys
from pathlib import Path

from toy_arms import toy_recipe

from harness.generation.stage import units
from harness.store import Run, unit_folder

N_SENTENCES = 220


def arms(base_url: str) -> dict[str, dict[str, object]]:
    backend = {"kind": "openai_api", "base_url": base_url, "model": "toy", "concurrency": 24, "timeout_s": 2.5,
               "max_retries": 6}  # fmt: skip
    return {"dual": {"sees": ["label", "persona", "trajectory"], "prompt": "instruct", "n_sentences": N_SENTENCES,
                     "backend": backend, "sampling": {"max_attempts": 6}}}  # fmt: skip


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = Run(recipe=toy_recipe(folder, arms(sys.argv[2])), folder=folder / "run")
    (unit,) = units(run)
    unit_folder(run, unit).mkdir(parents=True, exist_ok=True)
    unit.work(unit_folder(run, unit))
