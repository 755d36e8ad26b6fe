"""Drawing the next token: temperature, nucleus, and one uniform number per row and step.

Every row has its own stream of uniform numbers, so that what a row draws depends on its seed and its probabilities and
not on the rows beside it. The draw inverts the cumulative distribution over the nucleus in order of token id: unlike an
order by probability, it does not change when two nearly equal probabilities swap places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

# Most nuclei hold far fewer tokens; a row whose nucleus is larger makes this step sort the whole vocabulary instead.
NUCLEUS_GUESS = 256


def uniforms(seeds: Sequence[int], n_steps: int) -> torch.Tensor:
    """One stream of uniform numbers in [0, 1) per seed, shape (n_rows, n_steps)."""
    streams = [np.random.default_rng(seed).random(n_steps) for seed in seeds]
    return torch.from_numpy(np.stack(streams))


def draw(logits: torch.Tensor, u: torch.Tensor, *, temperature: float, top_p: float) -> torch.Tensor:
    """A token id per row.

    Args:
        logits: Shape (n_rows, n_vocabulary).
        u: Uniform numbers, shape (n_rows,).
        temperature: Above 0.
        top_p: Probability of the nucleus, in (0, 1]: the fewest most likely tokens that reach it.

    Returns:
        Shape (n_rows,).

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration (2020), nucleus sampling.
    """
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    values, ids = _nucleus(probabilities, top_p)
    ids, order = ids.sort(dim=-1)
    cumulative = values.gather(-1, order).double().cumsum(dim=-1)  # (n_rows, n_candidates)
    target = u.to(cumulative.device) * cumulative[:, -1]
    place = torch.searchsorted(cumulative, target[:, None], right=True).squeeze(-1)
    return ids.gather(-1, place.clamp(max=ids.shape[-1] - 1)[:, None]).squeeze(-1)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Candidates by falling probability; those outside the nucleus have value 0."""
    n_vocabulary = probabilities.shape[-1]
    for n_candidates in (min(NUCLEUS_GUESS, n_vocabulary), n_vocabulary):
        values, ids = probabilities.topk(n_candidates, dim=-1)
        before = values.cumsum(dim=-1) - values
        if n_candidates == n_vocabulary or bool((before[:, -1] + values[:, -1] >= top_p).all()):
            break
    return values.masked_fill(before >= top_p, 0.0), ids
