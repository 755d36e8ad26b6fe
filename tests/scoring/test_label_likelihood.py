from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.backends.embedded import unpacked_model
from harness.errors import ConfigError, DataError

# Several tokens, one token, a label that begins another one, and labels that share their first token.
LABELS = [" memory", " memory loss", " daily living", " daily", " neuropsychiatric symptom", " none"]
PROMPTS = [
    "Sentence: He forgets names.\nLabel:",
    "Sentence: Her daughter manages the pills, the bills and, since spring, the car keys as well.\nLabel:",
    "Sentence: Sleeps.\nLabel:",
    "Sentence: Asked twice about lunch, did not recall the answer, laughed it off.\nLabel:",
    "Sentence: No concerns today, walks two miles.\nLabel:",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from harness.backends.models import load_tokenizer

    return load_tokenizer(str(unpacked_model()))


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    """A small Llama with random weights large enough that labels differ by whole nats."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def plainly(model: Any, tokenizer: Any, prompts: list[str], labels: list[str]) -> np.ndarray[Any, Any]:
    """One full forward pass for each sentence and label."""
    import torch

    scores = np.zeros((len(prompts), len(labels)))
    for i, prompt in enumerate(prompts):
        n_prompt = len(tokenizer(prompt)["input_ids"])
        for k, label in enumerate(labels):
            ids = torch.tensor([tokenizer(prompt + label)["input_ids"] + [tokenizer.eos_token_id]])
            with torch.no_grad():
                log_p = torch.log_softmax(model(input_ids=ids).logits.double(), dim=-1)
            places = range(n_prompt, ids.shape[1])
            scores[i, k] = sum(float(log_p[0, t - 1, ids[0, t]]) for t in places)
    return scores


def cached(model: Any, tokenizer: Any, prompts: list[str], labels: list[str], batch_size: int = 2) -> Any:
    from harness.scoring.label_likelihood import label_log_likelihoods

    return label_log_likelihoods(model, tokenizer, prompts, labels, batch_size=batch_size)


def test_the_cache_changes_no_likelihood(model: Any, tokenizer: Any) -> None:
    expected = plainly(model, tokenizer, PROMPTS, LABELS)
    assert np.ptp(expected, axis=1).min() > 1  # labels are told apart, so that a mix-up would show
    np.testing.assert_allclose(cached(model, tokenizer, PROMPTS, LABELS), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_likelihoods_do_not_depend_on_the_batch(model: Any, tokenizer: Any, batch_size: int) -> None:
    one = cached(model, tokenizer, PROMPTS, LABELS, batch_size=2)
    other = cached(model, tokenizer, PROMPTS, LABELS, batch_size=batch_size)
    np.testing.assert_allclose(other, one, atol=1e-4, rtol=0)


def test_likelihoods_do_not_depend_on_the_order_of_sentences_and_labels(model: Any, tokenizer: Any) -> None:
    one = cached(model, tokenizer, PROMPTS, LABELS)
    other = cached(model, tokenizer, PROMPTS[::-1], LABELS[::-1])
    np.testing.assert_allclose(other[::-1, ::-1], one, atol=1e-4, rtol=0)


def test_labels_in_several_groups_score_as_in_one(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.scoring import label_likelihood

    one = cached(model, tokenizer, PROMPTS, LABELS, batch_size=3)
    monkeypatch.setattr(label_likelihood, "MAX_EXPANDED_ROWS", 6)  # two labels of three sentences at a time
    np.testing.assert_allclose(cached(model, tokenizer, PROMPTS, LABELS, batch_size=3), one, atol=1e-4, rtol=0)


def test_a_prompt_that_shares_a_token_with_the_label_is_scored_as_it_is_trained(model: Any, tokenizer: Any) -> None:
    from harness.backends.tokenizer import encode_pairs

    prompt, labels = "Label: mem", ["ory", " daily"]
    pairs = encode_pairs(tokenizer, [prompt, prompt], labels)
    assert pairs[0].n_prompt < pairs[1].n_prompt  # "mem" + "ory" became another token
    import torch

    expected = []
    for pair in pairs:
        with torch.no_grad():
            log_p = torch.log_softmax(model(input_ids=torch.tensor([pair.ids])).logits.double(), dim=-1)
        expected.append(sum(float(log_p[0, t - 1, pair.ids[t]]) for t in range(pair.n_prompt, len(pair.ids))))
    np.testing.assert_allclose(cached(model, tokenizer, [prompt], labels)[0], expected, atol=1e-4, rtol=0)


def test_probabilities_add_up_to_one_and_keep_the_order() -> None:
    from harness.scoring.label_likelihood import softmax

    # exp(-1) / (exp(-1) + exp(-3)) = 1 / (1 + exp(-2)) = 0.880797; the second row would underflow without the shift
    found = softmax(np.array([[-1.0, -3.0], [-2000.0, -2000.0]]))
    np.testing.assert_allclose(found, [[0.880797, 0.119203], [0.5, 0.5]], atol=1e-6)


def test_a_label_without_tokens_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="'' has no tokens in this model's vocabulary"):
        cached(model, tokenizer, PROMPTS, [" memory", ""])


def test_a_sentence_longer_than_the_context_is_named(model: Any, tokenizer: Any) -> None:
    from harness.scoring.label_likelihood import label_log_likelihoods

    long = f"Sentence: {'again and ' * 40}\nLabel:"
    with pytest.raises(DataError, match=r"s7: \d+ tokens with its longest label; the model's context is 64"):
        label_log_likelihoods(model, tokenizer, [PROMPTS[0], long], LABELS, batch_size=8, ids=["s1", "s7"])


@pytest.mark.slow
def test_the_embedded_model_scores_as_plainly_computed(tokenizer: Any) -> None:
    from harness.backends.models import load_model

    model = load_model(str(unpacked_model()), dtype="float32")
    prompts, labels = PROMPTS[:3], LABELS[:4]
    expected = plainly(model, tokenizer, prompts, labels)
    np.testing.assert_allclose(cached(model, tokenizer, prompts, labels, batch_size=3), expected, atol=1e-4, rtol=0)
