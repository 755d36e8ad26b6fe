"""Labels as a tree of tokens: what labels have in common is computed once, and a walk down the tree writes a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROOT = -1  # parent of a first token: the last token of the prompt


@dataclass(frozen=True)
class Trie:
    """Token sequences that share their beginnings; inner nodes (with children) come first, parents before children.

    Attributes:
        tokens: Token of each node, shape (n_nodes,).
        parents: Node before it, or ROOT, shape (n_nodes,).
        depths: 0 for a first token, shape (n_nodes,).
        n_inner: Nodes that something follows; only these are input to a model.
        paths: Nodes of each sequence, in order.
    """

    tokens: NDArray[np.int64]
    parents: NDArray[np.int64]
    depths: NDArray[np.int64]
    n_inner: int
    paths: tuple[tuple[int, ...], ...]

    def sees(self) -> NDArray[np.bool_]:
        """Which inner node sees which: itself and those before it on its path, shape (n_inner, n_inner)."""
        found = np.eye(self.n_inner, dtype=np.bool_)
        for node in range(self.n_inner):
            if self.parents[node] != ROOT:
                found[node] |= found[self.parents[node]]
        return found


def build_trie(sequences: Sequence[Sequence[int]]) -> Trie:
    """The tree of some token sequences, none of which is empty. One may be the beginning of another."""
    children: dict[tuple[int, ...], None] = {}
    for sequence in sequences:
        for end in range(1, len(sequence) + 1):
            children[tuple(sequence[:end])] = None
    inner = {one[:-1] for one in children}
    ordered = sorted(children, key=lambda one: (one not in inner, len(one)))
    place = {one: i for i, one in enumerate(ordered)}
    return Trie(
        tokens=np.array([one[-1] for one in ordered], dtype=np.int64),
        parents=np.array([place.get(one[:-1], ROOT) for one in ordered], dtype=np.int64),
        depths=np.array([len(one) - 1 for one in ordered], dtype=np.int64),
        n_inner=sum(one in inner for one in ordered),
        paths=tuple(tuple(place[tuple(s[:end])] for end in range(1, len(s) + 1)) for s in sequences),
    )


def path_sums(trie: Trie, log_p: NDArray[np.float64], skipped: Sequence[int]) -> NDArray[np.float64]:
    """Log-likelihood of each sequence, shape (n_rows, n_sequences).

    Args:
        trie: The tree.
        log_p: Of each node's token after its parent, shape (n_rows, n_nodes).
        skipped: Leading nodes of each sequence that are not counted.
    """
    return np.stack([log_p[:, list(path[n:])].sum(axis=1) for path, n in zip(trie.paths, skipped, strict=True)], axis=1)


def greedy_walk(trie: Trie, log_p: NDArray[np.float64]) -> NDArray[np.intp]:
    """The sequence that greedy decoding writes when it may only go down the tree, shape (n_rows,).

    Ties go to the sequence that comes first. No sequence may be the beginning of another: a walk that ends inside the
    tree has written none; an end token behind every label sees to that.
    """
    open_rows = np.ones((log_p.shape[0], len(trie.paths)), dtype=np.bool_)
    for depth in range(max(len(path) for path in trie.paths)):
        node = np.array([path[depth] if depth < len(path) else path[-1] for path in trie.paths])
        reached = np.where(open_rows, log_p[:, node], -np.inf)  # siblings alone are open, so they may be compared
        open_rows &= reached == reached.max(axis=1, keepdims=True)
        first = node[open_rows.argmax(axis=1)]  # of equally likely nodes one is gone down
        open_rows &= node[None, :] == first[:, None]
    found: NDArray[np.intp] = open_rows.argmax(axis=1)
    return found
