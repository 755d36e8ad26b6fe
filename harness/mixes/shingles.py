"""Texts as sets of character 5-grams: normal form, compact storage, exact Jaccard similarity of many pairs at once.

Texts go in as Arrow strings and are kept as one array of small integers (a byte a character for most languages), so
that a quarter of a million sentences take 25 MB. Shingles are computed from it where they are needed and not stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SHINGLE = 5
"""Characters per shingle. Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3rd ed. (2020), 3.2.2 (for
short texts)."""
SHINGLES_PER_CHUNK = 1 << 20  # of the exact comparison: bounds its memory to about 50 MB
WRAPPED_BASE = 0x9E3779B97F4A7C15
"""Odd, so that multiplying loses no bits; used past 7,131 distinct characters."""


@dataclass(frozen=True)
class EncodedTexts:
    """Normalised texts, end to end.

    Attributes:
        symbols: One small integer per character, shape (n_characters,).
        offsets: Where each text starts, and the end, shape (n_texts + 1,); no text is shorter than `SHINGLE`.
        n_symbols: Distinct characters over all texts.
    """

    symbols: NDArray[Any]
    offsets: NDArray[np.int64]
    n_symbols: int

    @property
    def n_texts(self) -> int:
        return self.offsets.size - 1

    def n_shingles(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Shingles of some texts, repeated ones included, shape (n_rows,)."""
        return self.offsets[rows + 1] - self.offsets[rows] - (SHINGLE - 1)


def normalise(texts: pa.Array) -> pa.Array:
    """The form in which two sentences count as equal: lower case, runs of punctuation and white space one space.

    Compatibility characters are unified first (NFKC). Signs that carry meaning in a note (`<`, `>`, `+`, `=`) are
    symbols in Unicode, not punctuation, and stay. A text of punctuation alone is left as it is.
    """
    unified = pc.utf8_normalize(texts, form="NFKC")
    words = pc.replace_substring_regex(pc.utf8_lower(unified), r"[\pP\pZ\pC]+", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), unified, words)


def encode(texts: pa.Array) -> EncodedTexts:
    """Store normalised texts compactly; a text shorter than a shingle is padded with spaces to one shingle."""
    padded = pc.utf8_rpad(texts, width=SHINGLE, padding=" ")
    n_characters = pc.utf8_length(padded).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(n_characters, dtype=np.int64)])
    codepoints = np.frombuffer(_utf8(padded).decode("utf-8").encode("utf-32-le"), dtype="<u4")
    present = np.zeros(int(codepoints.max(initial=0)) + 1, dtype=np.bool_)
    present[codepoints] = True
    n_symbols = max(int(present.sum()), 1)
    symbol_of = (np.cumsum(present) - 1).astype(np.min_scalar_type(n_symbols))
    return EncodedTexts(symbols=symbol_of[codepoints], offsets=offsets, n_symbols=n_symbols)


def _utf8(texts: pa.Array) -> bytes:
    if len(texts) == 0:
        return b""
    _, starts, content = texts.buffers()
    offset = np.frombuffer(starts, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(content.slice(int(offset[0]), int(offset[-1] - offset[0])))


def shingle_codes(texts: EncodedTexts, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Shingles of some texts, one integer each, text after text, repeated ones included.

    The integer is the shingle itself, written in base `n_symbols`, so that equal integers are equal shingles; past
    7,131 distinct characters that no longer fits 64 bits and it is a 64-bit hash of the shingle.
    """
    n_shingles = texts.n_shingles(rows)
    before = np.cumsum(n_shingles) - n_shingles
    position = np.arange(int(n_shingles.sum())) + np.repeat(texts.offsets[rows] - before, n_shingles)
    base = np.uint64(texts.n_symbols if texts.n_symbols**SHINGLE < 2**64 else WRAPPED_BASE)
    codes: NDArray[np.uint64] = texts.symbols[position].astype(np.uint64)
    for place in range(1, SHINGLE):
        codes = codes * base + texts.symbols[position + place]
    return codes


def jaccard(texts: EncodedTexts, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact Jaccard similarity of the shingle sets of pairs of texts, shape (n_pairs,), in [0, 1].

    Time is linear in the shingles of all pairs (a sort apart); memory is bounded whatever their number.

    Source: Jaccard, New Phytologist 11 (1912) 37-50: |A and B| / |A or B|.
    """
    parts = [_jaccard_of_chunk(texts, left[chunk], right[chunk]) for chunk in _chunks(texts, left, right)]
    return np.concatenate(parts) if parts else np.empty(0)


def _chunks(texts: EncodedTexts, left: NDArray[np.int64], right: NDArray[np.int64]) -> Iterator[slice]:
    if left.size == 0:
        return
    cost = np.cumsum(texts.n_shingles(left) + texts.n_shingles(right))
    cuts = np.flatnonzero(np.diff(cost // SHINGLES_PER_CHUNK)) + 1
    for start, stop in zip([0, *cuts], [*cuts, left.size], strict=True):
        yield slice(start, stop)


def _jaccard_of_chunk(texts: EncodedTexts, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    n_pairs = left.size
    rows = np.concatenate([left, right])
    codes = shingle_codes(texts, rows)
    pair_and_side = np.concatenate([np.arange(n_pairs) * 2, np.arange(n_pairs) * 2 + 1]).astype(np.uint64)
    pair_and_side = np.repeat(pair_and_side, texts.n_shingles(rows))
    if int(codes.max()).bit_length() + (2 * n_pairs).bit_length() > 64:
        codes = np.unique(codes, return_inverse=True)[1].astype(np.uint64)
    # One integer per pair, shingle and side, in this order of digits: once sorted, a shared shingle has its two next to
    # each other.
    code_bits = np.uint64(int(codes.max()).bit_length())
    keys = ((((pair_and_side >> 1) << code_bits) | codes) << 1) | (pair_and_side & 1)
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    of_set = keys >> 1
    pair = (of_set >> code_bits).astype(np.int64)
    shared = np.bincount(pair[1:][of_set[1:] == of_set[:-1]], minlength=n_pairs)
    return shared / (np.bincount(pair, minlength=n_pairs) - shared)
