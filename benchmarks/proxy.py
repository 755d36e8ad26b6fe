"""Seconds of `harness run RECIPE --proxy`: the answer of the cheap learners, from gold to report.

    python benchmarks/proxy.py                                   # recipes/alignment_ablation.yaml, whose arms are files

Run in a folder of its own, so that nothing finished is reused. The last line is the figure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "alignment_ablation.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "harness.cli",
            "run",
            str(given.recipe),
            "--proxy",
            "--run-dir",
            f"{folder}/run",
        ]
        began = time.perf_counter()
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - began
    print(said)
    print(f"figure proxy_seconds {seconds:.1f}")


if __name__ == "__main__":
    main()
