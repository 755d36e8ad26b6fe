import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mixes import shingles
from harness.mixes.minhash import N_HASHES, build_index, estimate, signatures
from harness.mixes.shingles import SHINGLE, encode, jaccard, normalise
from harness.seeds import generator


def by_sets(one: str, other: str) -> float:
    first, second = (
        {text[k : k + SHINGLE] for k in range(len(text) - SHINGLE + 1)} for text in (one.ljust(5), other.ljust(5))
    )
    return len(first & second) / len(first | second)


def exact(pairs: list[tuple[str, str]]) -> list[float]:
    texts = encode(pa.array([text for pair in pairs for text in pair], pa.string()))
    left = np.arange(len(pairs)) * 2
    return jaccard(texts, left, left + 1).tolist()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text("abc é", max_size=30), st.text("abc é", max_size=30)), min_size=1, max_size=20))
def test_jaccard_equals_that_of_python_sets(pairs: list[tuple[str, str]]) -> None:
    assert exact(pairs) == [by_sets(one, other) for one, other in pairs]


def test_jaccard_is_exact_for_alphabets_of_every_size() -> None:
    rng = generator(1, "alphabets")
    for n_symbols in (3, 60, 300, 6_000, 30_000):
        alphabet = [chr(0x4E00 + k) if n_symbols > 100 else chr(97 + k) for k in range(n_symbols)]
        filler = "".join(alphabet)  # makes every symbol occur
        one = "".join(rng.choice(alphabet, size=80))
        other = one[:50] + "".join(rng.choice(alphabet, size=20)) + one[60:]
        assert exact([(one, other), (filler, one), (filler, filler)]) == [by_sets(one, other), by_sets(filler, one), 1]


def test_jaccard_by_hand() -> None:
    # abcde bcdef cdefg / abcde bcdef cdefx: 2 shared of 4
    assert exact([("abcdefg", "abcdefx")]) == [0.5]
    assert exact([("ab", "ab"), ("ab", "ac"), ("ab", "abcdef")]) == [1.0, 0.0, 0.0]


def test_chunks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = generator(1, "chunks")
    pairs = [tuple("".join(rng.choice(list("ab "), size=int(rng.integers(90)))) for _ in range(2)) for _ in range(50)]
    whole = exact(pairs)
    monkeypatch.setattr(shingles, "SHINGLES_PER_CHUNK", 100)
    assert exact(pairs) == whole == [by_sets(one, other) for one, other in pairs]


def test_no_pairs_and_no_texts_are_fine() -> None:
    nobody = np.array([], dtype=np.int64)
    texts = encode(pa.array([], pa.string()))
    assert jaccard(texts, nobody, nobody).size == 0
    assert signatures(texts).shape == (0, N_HASHES)


def test_minhash_estimates_the_exact_similarity_without_bias() -> None:
    rng = generator(1, "estimate")
    texts = []
    for _ in range(300):
        words = ["".join(rng.choice(list("abcdefghij"), size=6)) for _ in range(14)]
        edited = [word if rng.random() > 0.15 else word[::-1] for word in words]
        texts += [" ".join(words), " ".join(edited)]
    index = build_index(encode(pa.array(texts)))
    left = np.arange(300) * 2
    error = estimate(index, left, left + 1) - jaccard(index.texts, left, left + 1)
    # standard error of one estimate: at most sqrt(0.25 / 192) = 0.036; of the mean of 300: 0.0021
    assert abs(error.mean()) < 4 * 0.5 / np.sqrt(N_HASHES * 300)
    assert np.abs(error).max() < 4.5 * 0.5 / np.sqrt(N_HASHES)
    assert error.std() > 0.005


def test_signatures_do_not_depend_on_the_texts_beside() -> None:
    texts = ["walks with a cane", "sleeps badly since may", "x" * 200_000, "lost on the way home"]
    together = signatures(encode(pa.array(texts)))
    # the same alphabet, so that the same shingles have the same numbers
    reverse = signatures(encode(pa.array(texts[::-1])))
    assert (together == reverse[::-1]).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Pt. reports poor sleep!", "pt reports   POOR sleep"),
        ("BP 135/85, stable.", "bp 135-85 stable"),
        ("\tdenies falls\n", "Denies falls."),
        ("ﬁne motor", "fine motor"),
    ],
)
def test_case_punctuation_and_white_space_do_not_make_a_difference(one: str, other: str) -> None:
    first, second = normalise(pa.array([one, other])).to_pylist()
    assert first == second


@pytest.mark.parametrize(
    ("one", "other"), [("MMSE < 24", "MMSE > 24"), ("trace protein +", "trace protein"), ("?", "!")]
)
def test_signs_that_carry_meaning_stay(one: str, other: str) -> None:
    first, second = normalise(pa.array([one, other])).to_pylist()
    assert first != second
