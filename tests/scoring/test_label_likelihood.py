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


def scored(model: Any, tokenizer: Any, prompts: list[str], labels: list[str], max_tokens: int = 64) -> Any:
    from harness.scoring.label_likelihood import score_labels

    return score_labels(model, tokenizer, prompts, labels, max_tokens=max_tokens)


def cached(model: Any, tokenizer: Any, prompts: list[str], labels: list[str], max_tokens: int = 64) -> Any:
    return scored(model, tokenizer, prompts, labels, max_tokens).log_likelihood


def test_the_tree_changes_no_likelihood(model: Any, tokenizer: Any) -> None:
    expected = plainly(model, tokenizer, PROMPTS, LABELS)
    assert np.ptp(expected, axis=1).min() > 1  # labels are told apart, so that a mix-up would show
    np.testing.assert_allclose(cached(model, tokenizer, PROMPTS, LABELS), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("max_tokens", [1, 100, 10_000])
def test_likelihoods_do_not_depend_on_the_batch(model: Any, tokenizer: Any, max_tokens: int) -> None:
    one = cached(model, tokenizer, PROMPTS, LABELS)
    other = cached(model, tokenizer, PROMPTS, LABELS, max_tokens)
    np.testing.assert_allclose(other, one, atol=1e-4, rtol=0)


def test_likelihoods_do_not_depend_on_the_order_of_sentences_and_labels(model: Any, tokenizer: Any) -> None:
    one = cached(model, tokenizer, PROMPTS, LABELS)
    other = cached(model, tokenizer, PROMPTS[::-1], LABELS[::-1])
    np.testing.assert_allclose(other[::-1, ::-1], one, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prompts", [["Sleeps.\nLabel:", "He forgets names.\nLabel:"], PROMPTS[:1], PROMPTS[:1] * 2])
def test_prompts_with_nothing_or_all_in_common_score_the_same(model: Any, tokenizer: Any, prompts: list[str]) -> None:
    expected = plainly(model, tokenizer, prompts, LABELS)
    np.testing.assert_allclose(cached(model, tokenizer, prompts, LABELS), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("attention", "window"), [("eager", None), ("sdpa", 4096)])
def test_attention_of_another_kind_scores_the_same(
    model: Any, tokenizer: Any, attention: str, window: int | None
) -> None:
    """`eager` takes the tree's mask; a window takes no mask of ours, so plain passes serve it."""
    from harness.scoring.passes import takes_tree_masks

    expected = scored(model, tokenizer, PROMPTS, LABELS)
    model.config._attn_implementation, model.config.sliding_window = attention, window
    try:
        assert takes_tree_masks(model) == (window is None)
        found = scored(model, tokenizer, PROMPTS, LABELS)
    finally:
        model.config._attn_implementation, model.config.sliding_window = "sdpa", None
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, atol=1e-4, rtol=0)
    assert (found.written == expected.written).all()
    assert (found.freely == expected.freely).all()


def test_greedy_decoding_down_the_tree_writes_the_label(model: Any, tokenizer: Any) -> None:
    """Against a loop that asks the model token by token, with the tokens that may come next read off the labels."""
    import torch

    found = scored(model, tokenizer, PROMPTS, LABELS)
    ends = [tokenizer(label)["input_ids"] + [tokenizer.eos_token_id] for label in LABELS]
    for row, prompt in enumerate(PROMPTS):
        written: list[int] = []
        while written not in ends:
            allowed = sorted({end[len(written)] for end in ends if end[: len(written)] == written})
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([tokenizer(prompt)["input_ids"] + written])).logits[0, -1]
            written.append(max(allowed, key=lambda token: float(logits[token])))
        assert found.written[row] == ends.index(written)


def test_a_label_counts_as_freely_written_where_the_whole_vocabulary_agrees(model: Any, tokenizer: Any) -> None:
    import torch

    from harness.scoring.passes import run_prefix, tree_pass
    from harness.scoring.trie import build_trie

    prompt = tokenizer(PROMPTS[0])["input_ids"]
    own: list[int] = []
    for _ in range(3):  # what the model writes of itself
        with torch.no_grad():
            own.append(int(model(input_ids=torch.tensor([prompt + own])).logits[0, -1].argmax()))
    trie = build_trie([tuple(own), (*own[:2], own[2] + 1)])
    nodes = tree_pass(model, run_prefix(model, prompt[:3]), [prompt[3:]], trie)
    assert nodes.is_top[0, list(trie.paths[0])].all()
    assert not nodes.is_top[0, trie.paths[1][2]]


def test_tokens_of_each_label_are_counted_with_the_end(model: Any, tokenizer: Any) -> None:
    found = scored(model, tokenizer, PROMPTS[:1], LABELS)
    assert found.n_tokens[0].tolist() == [len(tokenizer(label)["input_ids"]) + 1 for label in LABELS]


def test_no_sentences_have_no_scores(model: Any, tokenizer: Any) -> None:
    assert cached(model, tokenizer, [], LABELS).shape == (0, len(LABELS))


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


def test_a_label_without_tokens_is_refused(model: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="'' has no tokens in this model's vocabulary"):
        cached(model, tokenizer, PROMPTS, [" memory", ""])


def test_a_sentence_longer_than_the_context_is_named(model: Any, tokenizer: Any) -> None:
    from harness.scoring.label_likelihood import score_labels

    long = f"Sentence: {'again and ' * 40}\nLabel:"
    with pytest.raises(DataError, match=r"s7: \d+ tokens with its longest label; the model's context is 64"):
        score_labels(model, tokenizer, [PROMPTS[0], long], LABELS, max_tokens=512, ids=["s1", "s7"])


@pytest.mark.slow
def test_the_embedded_model_scores_as_plainly_computed(tokenizer: Any) -> None:
    from harness.backends.models import load_model

    model = load_model(str(unpacked_model()), dtype="float32")
    prompts, labels = PROMPTS[:3], LABELS[:4]
    expected = plainly(model, tokenizer, prompts, labels)
    np.testing.assert_allclose(cached(model, tokenizer, prompts, labels), expected, atol=1e-4, rtol=0)
