"""What a test launches: several jobs one after another in the same processes, because a launch costs ten seconds.

    accelerate launch ... tests/training/jobs_target.py FOLDER...

Every folder holds `job.json` and `table.txt` (the path of the mix's table) and gets what training leaves.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folders: list[str]) -> None:
    from harness import logs
    from harness.train import _prepare_environment, _train_job

    _prepare_environment()
    logs.configure()
    from accelerate.state import AcceleratorState

    for folder in map(Path, folders):
        AcceleratorState._reset_state()  # DeepSpeed's settings of the job before
        table = Path((folder / "table.txt").read_text(encoding="utf-8"))
        _train_job(folder / "job.json", table)


if __name__ == "__main__":
    main(sys.argv[1:])
