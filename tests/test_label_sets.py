"""Which sets of labels a task allows, and how they are spelled."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.label_sets import LabelSpace, labels_of, spoken
from harness.schemas.base import build
from harness.schemas.task import LabelSet

SPACE = LabelSpace(("memory", "falls", "other", "pain"), "other", 2)


def test_allowed_sets_are_all_small_subsets_without_the_negative_label_and_itself_alone() -> None:
    assert SPACE.set_ids == ("memory", "falls", "other", "pain", "memory;falls", "memory;pain", "falls;pain")
    everything = chain.from_iterable(combinations(SPACE.label_ids, size) for size in range(5))
    allowed = {SPACE.id_of(one) for one in everything if not SPACE.faults_of(one)}
    assert allowed == set(SPACE.set_ids)


@pytest.mark.parametrize("n_labels", [2, 5, 9])
@pytest.mark.parametrize("at_most", [1, 2, 3, 12])
@pytest.mark.parametrize("has_negative", [True, False])
def test_the_number_of_sets_is_known_without_listing_them(n_labels: int, at_most: int, has_negative: bool) -> None:
    labels = tuple(f"l{k}" for k in range(n_labels))
    space = LabelSpace(labels, labels[1] if has_negative else None, at_most)
    assert space.n_sets == len(space.sets) == len(set(space.set_ids))


def test_one_label_a_sentence_is_the_case_of_sets_of_one() -> None:
    single = LabelSpace(("memory", "falls", "other"), "other")
    assert single.set_ids == single.label_ids
    np.testing.assert_array_equal(single.membership, np.eye(3, dtype=bool))


def test_ids_keep_the_order_of_the_task_and_go_back_to_labels() -> None:
    assert SPACE.id_of(["pain", "memory"]) == "memory;pain"
    assert labels_of("memory;pain") == ["memory", "pain"]
    assert spoken("memory;pain", {"memory": "memory loss", "pain": "pain"}) == "memory loss; pain"
    found = SPACE.indicators(["falls;pain", "other"])
    np.testing.assert_array_equal(found, [[False, True, False, True], [False, False, True, False]])
    assert SPACE.indicators([]).shape == (0, 4)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no label; a sentence has at least one"),
        (["falls", "falls"], "falls given twice; each label stands once"),
        (["falls", "pain", "memory"], "found 3 labels; allowed: at most 2"),
        (["falls", "other"], "other stands for none of the others; found it beside another label"),
    ],
)
def test_a_fault_of_a_set_says_what_is_allowed(labels: list[str], message: str) -> None:
    assert SPACE.faults_of(labels) == [message]


def settings(n_labels: int, **more: object) -> LabelSet:
    values = [{"id": f"l{k}", "name": f"label {k}", "definition": "."} for k in range(n_labels)]
    return build(LabelSet, {"values": values, **more}, "labels")


def test_more_sets_than_can_be_scored_are_refused_with_their_number() -> None:
    assert settings(11, kind="multi").space.n_sets == 11 + 55 + 165
    with pytest.raises(
        ConfigError, match=r"12 labels, at most 3 a sentence, are 298 sets; allowed: 256; lower at_most"
    ):
        settings(12, kind="multi")
    assert settings(12, kind="multi", at_most=2).space.at_most == 2
    assert settings(40).space.n_sets == 40


def test_settings_that_contradict_the_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="at_most is for the kind multi"):
        settings(3, at_most=2)
    with pytest.raises(ConfigError, match="greater than or equal to 2"):
        settings(3, kind="multi", at_most=1)
    joined = [{"id": "a", "name": "falls; pain", "definition": "."}, {"id": "b", "name": "b", "definition": "."}]
    with pytest.raises(ConfigError, match="it parts the names of a set"):
        build(LabelSet, {"kind": "multi", "values": joined}, "labels")
