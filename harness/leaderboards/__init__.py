"""One leaderboard over several runs: what can be compared stands in one table, the rest apart with the reason."""
