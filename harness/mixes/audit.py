"""What is removed before a mix is drawn: leaks into held-out gold, duplicates, near-duplicates.

The pools of a mix and the held-out gold go in; which rows stay, a reason for every removed row, and counts by check
and pair of sources come out. Order decides who stays: gold before synthetic text, sources in the order of the mix, rows
in the order of their table. Gold rows that repeat other training gold are counted and kept, because they are the
annotation as it is; anything that repeats held-out gold goes, gold too, because a model could answer it from memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.mixes.minhash import (
    HASHES_PER_BAND,
    N_BANDS,
    NEIGHBOURS,
    Index,
    build_index,
    match_earlier,
    match_references,
)
from harness.mixes.pools import Pool
from harness.mixes.shingles import SHINGLE, encode, normalise
from harness.schemas.mix import GOLD_ORIGIN

NEAR_DUPLICATE = 0.8
"""Least Jaccard similarity of near-duplicates. Source: Lee et al., Deduplicating Training Data Makes Language Models
Better (ACL 2022), 4.2, whose bound on (edit) similarity after MinHash it is."""
AUDIT_SETTINGS = {
    "near_duplicate": NEAR_DUPLICATE,
    "shingle": SHINGLE,
    "bands": N_BANDS,
    "hashes_per_band": HASHES_PER_BAND,
    "neighbours": NEIGHBOURS,
}
NEVER = np.iinfo(np.int64).max  # the first row of a text in a source that does not hold it
NONE, LEAK, NEAR_LEAK, DUPLICATE, NEAR = range(5)
CHECKS = {LEAK: "leak", NEAR_LEAK: "near_leak", DUPLICATE: "duplicate", NEAR: "near_duplicate"}
REASONS = {LEAK: "leak", NEAR_LEAK: "leak", DUPLICATE: "duplicate", NEAR: "near_duplicate"}


@dataclass(frozen=True)
class Audit:
    """Outcome of the audit of one mix.

    Attributes:
        pools: The pools without the removed rows, in the order they were given.
        counts: Rows of the `audit` table.
        rejected: Rows of the `rejected` table; `detail` is the sentence that the row repeats.
    """

    pools: tuple[Pool, ...]
    counts: list[dict[str, Any]]
    rejected: pa.Table


def audit(pools: Sequence[Pool], held_out: Mapping[str, Pool], *, threshold: float = NEAR_DUPLICATE) -> Audit:
    """Find and remove leaks and duplicates.

    Args:
        pools: The sources of the mix, in its order.
        held_out: Gold of `validation` and `test`; nothing in it is ever removed.
        threshold: Least Jaccard similarity of character 5-grams at which two texts are near-duplicates.

    Returns:
        What stays, what goes and why. A row is removed under the first check that finds it, in the order leak,
        near_leak, duplicate, near_duplicate; leaks are not looked at again, a leak into both splits is found in both
        and removed once. A near-duplicate is counted against the source of the one sentence it was matched with.
    """
    ordered = sorted(pools, key=lambda pool: pool.origin != GOLD_ORIGIN)  # stable: gold first, then as given
    rows = _lay_out(ordered, held_out)
    findings = _Findings(rows)
    index = build_index(encode(rows.forms))
    _find_leaks(rows, findings)
    _find_near_leaks(rows, findings, index, threshold)
    staying = np.flatnonzero((rows.source >= rows.n_held_out) & (findings.check == NONE))
    _find_duplicates(rows, findings, staying)
    _find_near_duplicates(rows, findings, index, staying, threshold)
    is_gold = np.array([name == GOLD_ORIGIN for name in rows.names])[rows.source]
    removed = np.isin(findings.check, [LEAK, NEAR_LEAK]) | ((findings.check != NONE) & ~is_gold)
    kept = {name: ~removed[rows.of(k)] for k, name in enumerate(rows.names)}
    return Audit(
        pools=tuple(pool.keep(kept[pool.origin]) for pool in pools),
        counts=_count(rows, findings, removed),
        rejected=_rejected(rows, findings, np.flatnonzero(removed)),
    )


def _lay_out(ordered: Sequence[Pool], held_out: Mapping[str, Pool]) -> _Rows:
    pools = [*held_out.values(), *ordered]
    names = (*held_out, *(pool.origin for pool in ordered))
    starts = np.concatenate([[0], np.cumsum([pool.n_rows for pool in pools])]).astype(np.int64)
    texts = pa.concat_arrays(
        [chunk for pool in pools for chunk in pool.rows["text"].chunks] or [pa.array([], pa.string())]
    )
    coded = normalise(texts).dictionary_encode()
    form = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.full((len(names), len(coded.dictionary)), NEVER, dtype=np.int64)
    for k in range(len(names)):
        np.minimum.at(first[k], form[starts[k] : starts[k + 1]], np.arange(starts[k], starts[k + 1]))
    ids = [pc.binary_join_element_wise(pool.origin, pool.rows["sentence_id"], "/") for pool in pools]
    return _Rows(
        names=names,
        n_held_out=len(held_out),
        starts=starts,
        form=form,
        first=first,
        forms=coded.dictionary,
        row_ids=pa.concat_arrays([chunk for one in ids for chunk in one.chunks] or [pa.array([], pa.string())]),
    )


def _find_leaks(rows: _Rows, findings: _Findings) -> None:
    n_before = int(rows.starts[rows.n_held_out])
    for split in rows.held_out:
        first = rows.first[split][rows.form]
        found = np.flatnonzero(first[n_before:] != NEVER) + n_before
        findings.note(LEAK, split, found, first[found])


def _find_near_leaks(rows: _Rows, findings: _Findings, index: Index, threshold: float) -> None:
    in_training = (rows.first[rows.n_held_out :] != NEVER).any(axis=0)
    open_rows = np.flatnonzero((rows.source >= rows.n_held_out) & (findings.check != LEAK))
    for split in rows.held_out:
        in_split = rows.first[split] != NEVER
        texts, references = np.flatnonzero(in_training & ~in_split), np.flatnonzero(in_split)
        match = match_references(index, texts, references, threshold=threshold)[rows.form]
        found = open_rows[match[open_rows] >= 0]
        findings.note(NEAR_LEAK, split, found, rows.first[split][match[found]])


def _find_duplicates(rows: _Rows, findings: _Findings, staying: NDArray[np.int64]) -> None:
    first_of_all = rows.first.min(axis=0)
    for against in rows.training:
        found = staying[rows.first[against][rows.form[staying]] < staying]
        findings.note(DUPLICATE, against, found, first_of_all[rows.form[found]])


def _find_near_duplicates(
    rows: _Rows, findings: _Findings, index: Index, staying: NDArray[np.int64], threshold: float
) -> None:
    """The first row of a text stands for all of them; the others are its exact duplicates already."""
    is_gold = np.array([name == GOLD_ORIGIN for name in rows.names])
    protected = (rows.first[is_gold] != NEVER).any(axis=0)
    match = match_earlier(index, np.unique(rows.form[staying]), protected, threshold=threshold)[rows.form]
    found = staying[(findings.check[staying] == NONE) & (match[staying] >= 0)]
    repeats = rows.first.min(axis=0)[match[found]]
    for against in rows.training:
        here = rows.source[repeats] == against
        findings.note(NEAR, against, found[here], repeats[here])


def _count(rows: _Rows, findings: _Findings, removed: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Rows of the audit table: leaks of every source into every split, duplicates against every source not later."""
    counts = []
    for k in rows.training:
        n_checked = int(rows.starts[k + 1] - rows.starts[k])
        own_check, own_repeats = findings.check[rows.of(k)], findings.repeats[rows.of(k)]
        decided_by = np.where(own_repeats < 0, -1, rows.source[own_repeats])
        for check, name in CHECKS.items():
            for against in rows.held_out if check in (LEAK, NEAR_LEAK) else rows.training[: k - rows.n_held_out + 1]:
                counted = removed[rows.of(k)] & (own_check == check) & (decided_by == against)
                n_found = findings.n_found.get((check, k, against), 0)
                counts.append(
                    {
                        "check": name,
                        "origin": rows.names[k],
                        "against": rows.names[against],
                        "n_checked": n_checked,
                        "n_found": n_found,
                        "n_removed": int(counted.sum()),
                    }
                )
    return counts


def _rejected(rows: _Rows, findings: _Findings, removed: NDArray[np.int64]) -> pa.Table:
    reasons = [REASONS[check] for check in findings.check[removed].tolist()]
    return pa.table(
        {
            "row_id": rows.row_ids.take(pa.array(removed)),
            "reason": pa.array(reasons, pa.string()),
            "detail": rows.row_ids.take(pa.array(findings.repeats[removed])),
        }
    )


@dataclass(frozen=True)
class _Rows:
    """All rows end to end: held-out splits first, then gold, then the other sources.

    Attributes:
        names: Held-out splits and origins, in that order.
        n_held_out: How many of the names are held-out splits.
        starts: Where the rows of each name start, and the end, shape (n_names + 1,).
        form: Normalised text of each row, numbered by first appearance, shape (n_rows,).
        first: First row of each form in each name, `NEVER` where there is none, shape (n_names, n_forms).
        forms: The distinct normalised texts.
        row_ids: `<origin>/<sentence_id>` of each row.
    """

    names: tuple[str, ...]
    n_held_out: int
    starts: NDArray[np.int64]
    form: NDArray[np.int64]
    first: NDArray[np.int64]
    forms: pa.Array
    row_ids: pa.Array

    @cached_property
    def source(self) -> NDArray[np.int64]:
        """Position in `names` of each row, shape (n_rows,)."""
        return np.repeat(np.arange(len(self.names)), np.diff(self.starts))

    @property
    def held_out(self) -> range:
        return range(self.n_held_out)

    @property
    def training(self) -> range:
        return range(self.n_held_out, len(self.names))

    def of(self, k: int) -> slice:
        return slice(int(self.starts[k]), int(self.starts[k + 1]))


class _Findings:
    """What was found about each row, filled check by check.

    Attributes:
        check: The first check that found the row, shape (n_rows,).
        repeats: The row that it repeats, -1 for none, shape (n_rows,).
        n_found: (check, source, against) to rows found, whether or not another check had found them.
    """

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows
        self.check = np.full(rows.form.size, NONE, dtype=np.int8)
        self.repeats = np.full(rows.form.size, -1, dtype=np.int64)
        self.n_found: dict[tuple[int, int, int], int] = {}

    def note(self, check: int, against: int, found: NDArray[np.int64], repeats: NDArray[np.int64]) -> None:
        """Count the rows found against one source, and write the check beside those that have none yet."""
        for k, n_found in enumerate(np.bincount(self.rows.source[found], minlength=len(self.rows.names)).tolist()):
            self.n_found[check, k, against] = n_found
        new = self.check[found] == NONE
        self.check[found[new]] = check
        self.repeats[found[new]] = repeats[new]
