"""How good predictions are, and how sure that is: pure functions on arrays."""

from __future__ import annotations

# Raise by one whenever a number of `metrics.parquet` or a leaderboard would come out otherwise from equal predictions:
# another formula, another rule for undefined values, another interval. Leaderboards keep versions apart.
METRICS_VERSION = 1
