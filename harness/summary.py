"""What `harness run` prints at its end: a line for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.pipeline import UnitResult


def summary_lines(results: Sequence[UnitResult]) -> list[str]:
    """Units, seconds, memory and rows of each stage; what was skipped took no time."""
    lines = [f"{'stage':<12} {'units':>5} {'skipped':>8} {'seconds':>8} {'peak MB':>8} {'rows out':>9} {'rejected':>9}"]
    total_seconds = 0.0
    for stage in dict.fromkeys(result.unit.stage for result in results):
        those = [result for result in results if result.unit.stage == stage]
        done = [result.manifest for result in those if not result.skipped]
        seconds = sum(manifest.seconds for manifest in done)
        total_seconds += seconds
        peak = max((manifest.peak_rss_mb for manifest in done), default=0.0)
        rows_out = sum(result.manifest.counts.rows_out for result in those)
        rejected = sum(result.manifest.counts.rejected for result in those)
        lines.append(
            f"{stage:<12} {len(those):>5} {len(those) - len(done):>8} {seconds:>8.1f} {peak:>8.0f} {rows_out:>9} "
            f"{rejected:>9}"
        )
    return [*lines, f"{'total':<12} {len(results):>5} {'':>8} {total_seconds:>8.1f}"]
