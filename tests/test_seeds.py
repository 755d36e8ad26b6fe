from __future__ import annotations

import numpy as np

from harness import seeds


def test_child_depends_on_its_own_name_only() -> None:
    before = seeds.generator(7, "mixes", "gold").integers(1 << 30, size=8)
    seeds.generator(7, "mixes", "another").integers(1 << 30, size=8)
    after = seeds.generator(7, "mixes", "gold").integers(1 << 30, size=8)
    assert np.array_equal(before, after)


def test_names_are_not_glued_together() -> None:
    assert seeds.integer(7, "ab", "c") != seeds.integer(7, "a", "bc")


def test_roots_and_names_separate_streams() -> None:
    drawn = {seeds.integer(root, name) for root in range(20) for name in ("a", "b", "c")}
    assert len(drawn) == 60
