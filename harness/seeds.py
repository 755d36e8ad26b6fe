"""Randomness: one root seed per recipe, named children.

A child depends on the root and on its own name only, so a new stage, arm or row changes no other draw.
"""

from __future__ import annotations

import hashlib

import numpy as np


def child(root: int, *names: str) -> np.random.SeedSequence:
    """Seed for a place in the tree, e.g. `child(7, "personas", persona_id)`.

    Source: NumPy user guide, "Parallel random number generation" (spawn keys); names are hashed into the key.
    """
    digest = hashlib.sha256("\x1f".join(names).encode()).digest()
    words = [int(word) for word in np.frombuffer(digest, dtype="<u4")]
    return np.random.SeedSequence(root, spawn_key=words)


def generator(root: int, *names: str) -> np.random.Generator:
    return np.random.default_rng(child(root, *names))


def integer(root: int, *names: str) -> int:
    """A 32-bit seed for libraries that take an integer (torch, scikit-learn, a server's `seed` field)."""
    return int(child(root, *names).generate_state(1)[0])
