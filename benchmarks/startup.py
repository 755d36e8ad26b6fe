"""How long `harness --help` takes: the median of twenty fresh processes.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

N_RUNS = 20


def main() -> None:
    seconds = []
    for _ in range(N_RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "harness.cli", "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    print(f"figure help_seconds_median {statistics.median(seconds):.3f}")
    print(f"figure help_seconds_max {max(seconds):.3f}")


if __name__ == "__main__":
    main()
