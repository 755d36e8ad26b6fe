"""The newcomer's run, twice: how long, how much memory, and whether the second gives the same tables.

    python benchmarks/quickstart.py [--once] [--recipe recipes/quickstart.yaml]

Runs `harness run` into two empty folders. Equal means: the same SHA-256 of every table up to the mixes, and metrics
within 1e-6. Seconds and memory are read from the manifests; memory is the peak of the process and its children.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.schemas.tables import METRICS
from harness.store import STAGE_FOLDERS, read_manifest, read_table, sha256_file

EXACT_STAGES = ("cohort", "alignment", "generation", "annotation", "mixes")


def run(recipe: Path, folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "harness.cli", "run", str(recipe), "--run-dir", str(folder)], check=True)
    return time.perf_counter() - started


def table_hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for stage in EXACT_STAGES
        for path in sorted((folder / STAGE_FOLDERS[stage]).rglob("*.parquet"))
    }


def largest_metric_difference(one: Path, two: Path) -> float:
    tables = [read_table(folder / STAGE_FOLDERS["evaluation"] / "metrics.parquet", METRICS) for folder in (one, two)]
    first, second = (np.array([np.nan if v is None else v for v in table["value"].to_pylist()]) for table in tables)
    if first.shape != second.shape or not np.array_equal(np.isnan(first), np.isnan(second)):
        return float("inf")
    return float(np.nanmax(np.abs(first - second)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/quickstart.yaml"))
    parser.add_argument("--once", action="store_true", help="time one run and do not compare")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        one, two = Path(scratch) / "one", Path(scratch) / "two"
        figures = {"quickstart_seconds": run(arguments.recipe, one)}
        manifests = [read_manifest(path.parent) for path in sorted(one.rglob("manifest.json"))]
        known = [manifest for manifest in manifests if manifest is not None]
        for stage in STAGE_FOLDERS:
            figures[f"{stage}_seconds"] = sum(manifest.seconds for manifest in known if manifest.stage == stage)
        figures["quickstart_peak_rss_mb"] = max(manifest.peak_rss_mb for manifest in known)
        if not arguments.once:
            run(arguments.recipe, two)
            hashes_one, hashes_two = table_hashes(one), table_hashes(two)
            figures["tables_compared"] = len(hashes_one)
            figures["tables_equal"] = sum(hashes_two.get(name) == digest for name, digest in hashes_one.items())
            figures["largest_metric_difference"] = largest_metric_difference(one, two)
    for name, value in figures.items():
        print(f"figure {name} {value:g}")


if __name__ == "__main__":
    main()
