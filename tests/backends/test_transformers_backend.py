"""The in-process backend against transformers' own forward pass, with the embedded model in float32."""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.backends.base import Request, Sample
from harness.backends.embedded import EMBEDDED_MODEL
from harness.errors import BackendError

pytestmark = pytest.mark.slow
GREEDY = Sample(temperature=0.01, top_p=0.01, max_new_tokens=10)
HEAD = "Sentences from clinic notes.\n\nSentence: Forgets the names of old friends.\n\n"


@pytest.fixture(scope="module")
def backend() -> Iterator[Any]:
    from harness.backends.transformers import TransformersBackend

    one = TransformersBackend("transformers", EMBEDDED_MODEL, batch_size=8, dtype="float32")
    yield one
    one.close()


def texts(backend: Any, requests: list[Request], sample: Sample = GREEDY) -> list[str]:
    found: dict[int, str] = {}
    for group in backend.batches(requests):
        for answered in backend.generate([requests[index] for index in group], sample):
            found.update({group[index]: reply.text for index, reply in answered})
    return [found[index] for index in range(len(requests))]


def prompts() -> list[str]:
    return [f"{HEAD}Finding: {term}\nSentence:" for term in ("falls", "trouble learning new tasks", "fatigue")]


def test_greedy_text_is_that_of_transformers_own_generate(backend: Any) -> None:
    import torch

    from harness.backends.models import load_model, load_tokenizer

    tokenizer, model = load_tokenizer(EMBEDDED_MODEL), load_model(EMBEDDED_MODEL, dtype="float32")
    expected = []
    for prompt in prompts():
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10,
                             pad_token_id=tokenizer.pad_token_id)  # fmt: skip
        text = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        expected.append(text.split("\n", 1)[0].strip())
    found = texts(backend, [Request(prompt, seed, len(HEAD)) for seed, prompt in enumerate(prompts())])
    assert found == expected
    assert all(found)


def test_a_shared_prefix_changes_no_greedy_text(backend: Any) -> None:
    shared = texts(backend, [Request(prompt, 1, len(HEAD)) for prompt in prompts()])
    whole = texts(backend, [Request(prompt, 1) for prompt in prompts()])
    alone = [texts(backend, [Request(prompt, 1)])[0] for prompt in prompts()]
    assert shared == whole == alone


def test_a_row_keeps_its_sample_whatever_stands_beside_it(backend: Any) -> None:
    sample = Sample(temperature=0.8, top_p=0.9, max_new_tokens=8)
    requests = [Request(prompts()[0], seed, len(HEAD)) for seed in range(8)]
    together = texts(backend, requests, sample)
    assert [texts(backend, [request], sample)[0] for request in requests[:3]] == together[:3]
    assert len(set(together)) > 4


def test_a_line_ends_at_the_newline_and_a_cut_one_says_so(backend: Any) -> None:
    (answered,) = backend.generate([Request("Count: one, two, three, four,", 1)], Sample(0.01, 0.01, 4))
    assert answered[0][1].finish_reason == "length"
    assert answered[0][1].n_completion_tokens == 4
    (answered,) = backend.generate(
        [Request(HEAD + "Sentence: He\n\nSentence: She\n\nSentence:", 1)], Sample(0.01, 0.01, 40)
    )
    assert answered[0][1].finish_reason == "stop"


def test_a_newline_ends_only_the_rows_that_ask_for_one_line(backend: Any) -> None:
    prompt = "Shopping list:\n- apples\n- bread\n- butter\n-"
    sample = Sample(0.01, 0.01, 16)
    asked = [Request(prompt, 1), Request(prompt, 1, multiline=True), Request(prompt, 2)]
    (answered,) = backend.generate(asked, sample)
    line, whole, other_line = (reply for _, reply in sorted(answered))
    assert whole.text.split("\n", 1)[0] == line.text == other_line.text
    assert "\n" in whole.text
    assert whole.n_completion_tokens == 16 > line.n_completion_tokens
    assert (line.finish_reason, whole.finish_reason) == ("stop", "length")
    assert backend.scope(asked[:1]) != backend.scope(asked[1:2])


def test_a_chat_template_wraps_the_prompt() -> None:
    from harness.backends.transformers import TransformersBackend

    chat = TransformersBackend("transformers", EMBEDDED_MODEL, batch_size=4, dtype="float32", chat=True)
    plain = TransformersBackend("transformers", EMBEDDED_MODEL, batch_size=4, dtype="float32")
    asked = [Request("Say hello.", 1), Request("Say hello.", 2)]
    (with_chat,), (without,) = chat.generate(asked, GREEDY), plain.generate(asked, GREEDY)
    assert with_chat[0][1].n_prompt_tokens > without[0][1].n_prompt_tokens + 5
    assert chat.identity != plain.identity


def test_a_model_that_is_not_there_is_named() -> None:
    from harness.backends.transformers import TransformersBackend

    nowhere = TransformersBackend("transformers", "/no/such/model", batch_size=4)
    with pytest.raises(BackendError, match="'/no/such/model': no such folder"):
        next(nowhere.generate([Request("p", 1)], GREEDY))
