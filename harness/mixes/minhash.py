"""Near-duplicates by MinHash and locality-sensitive hashing; every pair reported has been compared exactly.

Texts go in encoded; a match (an earlier text at least `threshold` similar, or none) comes out for each. A pair of
Jaccard similarity s falls into a common bucket of at least one band with probability 1 - (1 - s^r)^b: with b = 32 bands
of r = 6 hashes that is 0.9999997 at s = 0.85, 0.99994 at 0.80 and 0.12 at 0.40. Buckets are never compared pair by pair
as a whole: every member meets the first one and its neighbours in a finer order, which is all pairs in a small bucket
and linear in a large one. A cluster of thousands of alike lines so falls to its first line in the first band; the price
is that a band may miss a pair in a large bucket of unlike lines, which the next band orders anew.

Sources: Broder, On the resemblance and containment of documents (1997): MinHash. Leskovec, Rajaraman, Ullman, Mining of
Massive Datasets, 3rd ed. (2020), 3.4: bands and rows. Bawa et al., LSH Forest (WWW 2005): order inside a bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.mixes.shingles import EncodedTexts, jaccard, shingle_codes
from harness.seeds import generator

N_BANDS = 32
HASHES_PER_BAND = 6
N_HASHES = N_BANDS * HASHES_PER_BAND
NEIGHBOURS = 16
"""How far apart, in the finer order of a bucket, two members still meet."""
SCREEN_MARGIN = 0.2
"""A pair is dropped unread when its estimate lies this far below the threshold: almost 7 standard errors at 0.8."""
FINER_BITS = 24  # of a bucket key: the order inside the bucket; the 40 bits above them name the bucket
SHINGLES_PER_BLOCK = 1 << 16  # of the signatures: a quarter of a megabyte, which stays in a core's cache
PAIRS_PER_SCREEN = 1 << 15

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Index:
    """Texts with their signatures, shape (n_texts, N_HASHES)."""

    texts: EncodedTexts
    signatures: NDArray[np.uint32]


def build_index(texts: EncodedTexts) -> Index:
    return Index(texts=texts, signatures=signatures(texts))


def signatures(texts: EncodedTexts) -> NDArray[np.uint32]:
    """MinHash signatures, shape (n_texts, N_HASHES): the least value of each hash function over a text's shingles."""
    # The hash functions belong to the method, not to an experiment: every recipe and mix finds the same pairs.
    rng = generator(0, "mixes", "minhash")
    multipliers = rng.integers(2**31, size=N_HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    salts = rng.integers(2**32, size=N_HASHES, dtype=np.uint32)
    found = np.empty((texts.n_texts, N_HASHES), dtype=np.uint32)
    for start, stop in _blocks(texts):
        rows = np.arange(start, stop)
        n_shingles = texts.n_shingles(rows)
        first = np.cumsum(n_shingles) - n_shingles
        mixed = (_mix(shingle_codes(texts, rows)) >> np.uint64(32)).astype(np.uint32)
        for k in range(N_HASHES):
            # (x ^ salt) * odd is a permutation of the 32-bit integers
            found[start:stop, k] = np.minimum.reduceat((mixed ^ salts[k]) * multipliers[k], first)
    return found


def _blocks(texts: EncodedTexts) -> Iterator[tuple[int, int]]:
    cuts = np.flatnonzero(np.diff(texts.offsets[1:] // SHINGLES_PER_BLOCK)) + 1
    if texts.n_texts:
        yield from zip([0, *cuts.tolist()], [*cuts.tolist(), texts.n_texts], strict=True)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over all output bits. Source: Steele, Lea, Flood, SplitMix (OOPSLA 2014), variant 13."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def estimate(index: Index, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of hash functions on which two texts agree: an unbiased estimate of their Jaccard similarity."""
    agree: NDArray[np.float64] = np.mean(index.signatures[left] == index.signatures[right], axis=1)
    return agree


def alike(index: Index, left: NDArray[np.int64], right: NDArray[np.int64], *, threshold: float) -> NDArray[np.bool_]:
    """Which pairs are at least `threshold` similar; screened by the estimate, decided by the exact similarity."""
    found = np.zeros(left.size, dtype=np.bool_)
    for start in range(0, left.size, PAIRS_PER_SCREEN):
        chunk = slice(start, start + PAIRS_PER_SCREEN)
        found[chunk] = estimate(index, left[chunk], right[chunk]) >= threshold - SCREEN_MARGIN
    likely = np.flatnonzero(found)
    found[likely] = jaccard(index.texts, left[likely], right[likely]) >= threshold
    return found


def match_references(
    index: Index, texts: NDArray[np.int64], references: NDArray[np.int64], *, threshold: float
) -> NDArray[np.int64]:
    """For each of `texts` one of `references` that it is near to, or -1; shape (n_texts of the index,)."""
    match = np.full(index.texts.n_texts, -1, dtype=np.int64)
    for band in range(N_BANDS):
        keys = _keys(index, band)
        ordered = references[np.argsort(keys[references], kind="stable")]
        for reach in (1, NEIGHBOURS):  # most texts that have a match find it right beside them
            left, right = _meetings(keys, texts[match[texts] < 0], ordered, reach=reach)
            near = alike(index, left, right, threshold=threshold)
            # written from the last pair to the first, so that the first one stands
            match[left[near][::-1]] = right[near][::-1]
    return match


def _meetings(
    keys: NDArray[np.uint64], texts: NDArray[np.int64], references: NDArray[np.int64], *, reach: int
) -> Pairs:
    """Pairs of a text and the references next to it in its bucket; `references` are in the order of their keys."""
    bits = np.uint64(FINER_BITS)
    buckets = keys[references] >> bits
    texts = texts[np.isin(keys[texts] >> bits, buckets)]
    place = np.searchsorted(keys[references], keys[texts])
    left, right = [texts[:0]], [references[:0]]
    for step in range(-reach, reach):
        beside = place + step
        inside = np.flatnonzero((beside >= 0) & (beside < references.size))
        inside = inside[buckets[beside[inside]] == keys[texts[inside]] >> bits]
        left.append(texts[inside])
        right.append(references[beside[inside]])
    return np.concatenate(left), np.concatenate(right)


def match_earlier(
    index: Index, texts: NDArray[np.int64], protected: NDArray[np.bool_], *, threshold: float
) -> NDArray[np.int64]:
    """For each of `texts` an earlier one that it is near to, or -1.

    A text that has found its match drops out and is nobody's match from then on, unless it is protected: two texts that
    stay are not near to each other, and a text falls only to an earlier one.

    Args:
        index: The texts with their signatures.
        texts: Which texts take part; a smaller number is earlier.
        protected: Texts that stay even when they have a match, shape (n_texts of the index,).
        threshold: Least Jaccard similarity of near-duplicates.

    Returns:
        Shape (n_texts of the index,); -1 also for texts that take no part.
    """
    match = np.full(index.texts.n_texts, -1, dtype=np.int64)
    for band in range(N_BANDS):
        members, bucket = _buckets(_keys(index, band), texts[_stays(texts, match, protected)])
        _settle(index, _with_first(members, bucket), match, protected, threshold=threshold)
        staying = _stays(members, match, protected)
        _settle(index, _with_neighbours(members[staying], bucket[staying]), match, protected, threshold=threshold)
    return match


def _stays(texts: NDArray[np.int64], match: NDArray[np.int64], protected: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (match[texts] < 0) | protected[texts]


def _settle(
    index: Index, pairs: Pairs, match: NDArray[np.int64], protected: NDArray[np.bool_], *, threshold: float
) -> None:
    """Compare pairs of an earlier and a later text and write down, first text first, the matches that stand."""
    earlier, later = pairs
    undecided = match[later] < 0
    earlier, later = earlier[undecided], later[undecided]
    near = alike(index, earlier, later, threshold=threshold)
    earlier, later = earlier[near], later[near]
    order = np.lexsort((earlier, later))
    for one, other in zip(earlier[order].tolist(), later[order].tolist(), strict=True):
        if match[other] < 0 and (match[one] < 0 or protected[one]):
            match[other] = one


def _keys(index: Index, band: int) -> NDArray[np.uint64]:
    """Bucket (upper bits) and finer order inside it (lower bits) of every text in a band, shape (n_texts,)."""
    first = band * HASHES_PER_BAND
    bucket: NDArray[np.uint64] = np.zeros(index.texts.n_texts, dtype=np.uint64)
    for k in range(first, first + HASHES_PER_BAND):
        bucket = _mix(bucket ^ index.signatures[:, k])
    finer: NDArray[np.uint64] = np.zeros(index.texts.n_texts, dtype=np.uint64)
    for k in (first + HASHES_PER_BAND, first + HASHES_PER_BAND + 1):
        finer = (finer << np.uint64(12)) | (index.signatures[:, k % N_HASHES] & np.uint32(0xFFF))
    return bucket >> np.uint64(FINER_BITS) << np.uint64(FINER_BITS) | finer


def _buckets(keys: NDArray[np.uint64], texts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Texts that share a bucket with another one, bucket by bucket in the finer order, and the bucket of each."""
    members = texts[np.argsort(keys[texts], kind="stable")]
    bucket = keys[members] >> np.uint64(FINER_BITS)
    same = bucket[1:] == bucket[:-1]
    shared = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    return members[shared[: members.size]], bucket[shared[: members.size]]


def _with_first(members: NDArray[np.int64], bucket: NDArray[np.uint64]) -> Pairs:
    """Every member with the earliest of its bucket."""
    if members.size == 0:
        return members, members
    starts = np.concatenate([[0], np.flatnonzero(bucket[1:] != bucket[:-1]) + 1])
    sizes = np.diff(np.append(starts, members.size))
    first = np.repeat(np.minimum.reduceat(members, starts), sizes)
    others = first != members
    return first[others], members[others]


def _with_neighbours(members: NDArray[np.int64], bucket: NDArray[np.uint64]) -> Pairs:
    """Pairs of members at most `NEIGHBOURS` places apart, the earlier text first."""
    left, right = [members[:0]], [members[:0]]
    for step in range(1, min(NEIGHBOURS, members.size - 1) + 1):
        together = bucket[step:] == bucket[:-step]
        left.append(members[:-step][together])
        right.append(members[step:][together])
    one, other = np.concatenate(left), np.concatenate(right)
    return np.minimum(one, other), np.maximum(one, other)
