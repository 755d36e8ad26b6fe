from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.errors import DataError
from harness.mixes.audit import Audit, audit
from harness.mixes.minhash import build_index, match_earlier
from harness.mixes.pools import Pool, check_patients_apart
from harness.mixes.shingles import encode, jaccard

Pools = Callable[..., Pool]
Texts = Callable[..., list[str]]


def near(text: str) -> str:
    """One letter changed near the end: at most 5 shingles of 50 or more are lost and 5 are new."""
    return text[:-3] + ("x" if text[-3] != "x" else "y") + text[-2:]


def loud(text: str) -> str:
    return f"  {text.upper()} !"


def kept(result: Audit, origin: str) -> list[str]:
    return next(pool for pool in result.pools if pool.origin == origin).rows["text"].to_pylist()


def reasons(result: Audit) -> dict[str, tuple[str, str]]:
    return {row["row_id"]: (row["reason"], row["detail"]) for row in result.rejected.to_pylist()}


def count(result: Audit, check: str, origin: str, against: str) -> tuple[int, int]:
    row: dict[str, Any] = next(
        one for one in result.counts if (one["check"], one["origin"], one["against"]) == (check, origin, against)
    )
    return row["n_found"], row["n_removed"]


def test_unlike_sentences_all_stay(pool: Pools, unlike: Texts) -> None:
    pools = [pool("gold", unlike(200, "g")), pool("arm", unlike(400, "a"))]
    held_out = {"validation": pool("gold", unlike(50, "v")), "test": pool("gold", unlike(50, "t"))}
    result = audit(pools, held_out)
    assert [one.n_rows for one in result.pools] == [200, 400]
    assert result.rejected.num_rows == 0
    assert all(row["n_found"] == row["n_removed"] == 0 for row in result.counts)


def test_planted_repeats_are_removed_with_the_sentence_they_repeat(pool: Pools, unlike: Texts) -> None:
    base, gold = unlike(20, "a"), unlike(20, "g")
    pools = [
        pool("gold", gold),
        pool("arm", [*base, loud(base[3]), near(base[4]), loud(gold[5]), near(gold[6])]),
        pool("other", [*unlike(5, "o"), loud(base[7]), near(base[8])]),
    ]
    result = audit(pools, {"test": pool("test", unlike(9, "t"))})
    assert reasons(result) == {
        "arm/a20": ("duplicate", "arm/a3"),
        "arm/a21": ("near_duplicate", "arm/a4"),
        "arm/a22": ("duplicate", "gold/g5"),
        "arm/a23": ("near_duplicate", "gold/g6"),
        "other/o5": ("duplicate", "arm/a7"),
        "other/o6": ("near_duplicate", "arm/a8"),
    }
    assert kept(result, "gold") == gold
    assert kept(result, "arm") == base
    assert kept(result, "other") == unlike(5, "o")
    for check in ("duplicate", "near_duplicate"):
        assert count(result, check, "arm", "arm") == (1, 1)
        assert count(result, check, "arm", "gold") == (1, 1)
        assert count(result, check, "other", "arm") == (1, 1)
        assert count(result, check, "other", "gold") == (0, 0)


def test_training_gold_that_repeats_itself_is_counted_and_kept(pool: Pools, unlike: Texts) -> None:
    gold = unlike(10, "g")
    gold += [loud(gold[0]), near(gold[1]), loud(gold[0])]
    result = audit([pool("gold", gold)], {"test": pool("test", unlike(5, "t"))})
    assert kept(result, "gold") == gold
    assert count(result, "duplicate", "gold", "gold") == (2, 0)
    assert count(result, "near_duplicate", "gold", "gold") == (1, 0)


def test_nothing_of_held_out_gold_stays_in_training(pool: Pools, unlike: Texts) -> None:
    validation, test = unlike(30, "v"), unlike(30, "t")
    leaks = [make(text) for texts in (validation, test) for text in texts for make in (str, loud, near)]
    pools = [pool("gold", unlike(50, "g") + leaks), pool("arm", leaks + unlike(50, "a"))]
    result = audit(pools, {"validation": pool("validation", validation), "test": pool("test", test)})
    assert kept(result, "gold") == unlike(50, "g")
    assert kept(result, "arm") == unlike(50, "a")
    assert {reason for reason, _ in reasons(result).values()} == {"leak"}
    for origin in ("gold", "arm"):
        for split in ("validation", "test"):
            assert count(result, "leak", origin, split) == (60, 60)
            assert count(result, "near_leak", origin, split) == (30, 30)


def test_a_leak_into_both_splits_is_found_in_both_and_removed_once(pool: Pools, unlike: Texts) -> None:
    line = unlike(1, "template")
    result = audit([pool("gold", line)], {"validation": pool("validation", line), "test": pool("test", line)})
    assert count(result, "leak", "gold", "validation") == (1, 1)
    assert count(result, "leak", "gold", "test") == (1, 0)
    assert result.pools[0].n_rows == 0


def test_leaks_are_found_without_gold_in_the_mix(pool: Pools, unlike: Texts) -> None:
    test = unlike(3, "t")
    result = audit([pool("arm", [near(test[2]), *unlike(3, "a")])], {"test": pool("test", test)})
    assert reasons(result) == {"arm/a0": ("leak", "test/t2")}


def test_gold_comes_first_wherever_it_stands_in_the_mix(pool: Pools, unlike: Texts) -> None:
    gold, arm = pool("gold", unlike(5, "g")), pool("arm", [loud(unlike(5, "g")[0])])
    result = audit([arm, gold], {})
    assert [one.origin for one in result.pools] == ["arm", "gold"]
    assert [one.n_rows for one in result.pools] == [0, 5]


def test_one_row_of_a_cluster_stays(pool: Pools) -> None:
    equal = ["No acute distress, lungs clear to auscultation."] * 3000
    alike = [f"patient seen in the memory clinic on day {k} and remains stable on donepezil" for k in range(3000)]
    result = audit([pool("arm", equal + alike)], {})
    assert kept(result, "arm") == [equal[0], alike[0]]
    assert count(result, "duplicate", "arm", "arm") == (2999, 2999)
    assert count(result, "near_duplicate", "arm", "arm") == (2999, 2999)


def test_sentences_that_stay_are_not_near_to_each_other(rng: np.random.Generator) -> None:
    words = ["".join(rng.choice(list("abcdefgh"), size=7)) for _ in range(120)]
    frame = "the patient was seen today and reports {} which is consistent with {} according to the family and her neighbour"
    texts = sorted({frame.format(*rng.choice(words, size=2)) for _ in range(700)})
    index = build_index(encode(pa.array(texts)))
    match = match_earlier(index, np.arange(len(texts)), np.zeros(len(texts), dtype=np.bool_), threshold=0.8)
    left, right = np.triu_indices(len(texts), k=1)
    is_near = jaccard(index.texts, left, right) >= 0.8
    stay = match < 0
    n_missed = (is_near & stay[left] & stay[right]).sum()
    assert is_near.sum() > 500
    assert n_missed <= 2  # 0.99994 of the pairs at the threshold share a bucket
    found = np.flatnonzero(~stay)
    assert (match[found] < found).all()
    assert (jaccard(index.texts, match[found], found) >= 0.8).all()


def test_the_audit_does_not_depend_on_the_texts_of_others(pool: Pools, unlike: Texts) -> None:
    base = unlike(50, "a")
    arm = pool("arm", [*base, *(near(text) for text in base)])
    alone, beside = audit([arm], {}), audit([arm, pool("other", unlike(300, "o"))], {})
    assert reasons(alone) == reasons(beside)
    assert len(reasons(alone)) == 50


def test_empty_pools_pass(pool: Pools, unlike: Texts) -> None:
    result = audit([pool("gold", []), pool("arm", unlike(2, "a"))], {"validation": pool("validation", [])})
    assert [one.n_rows for one in result.pools] == [0, 2]
    assert result.rejected.num_rows == 0


def test_a_patient_in_train_and_held_out_is_refused(gold_table: Callable[..., pa.Table]) -> None:
    gold = gold_table(train=["a b c", "d e f"], test=["g h i"])
    check_patients_apart(gold)
    shared = gold.set_column(1, "patient_id", pa.array(["p1", "p2", "p2"]))
    with pytest.raises(DataError, match="gold: 1 patients are in train and in a held-out split, e.g. p2"):
        check_patients_apart(shared)
