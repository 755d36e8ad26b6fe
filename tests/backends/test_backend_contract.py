"""What every backend keeps, over all kinds that a recipe may name."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from local_server import Answer, completion, serving

from harness.backends.base import Backend, Request, Sample
from harness.backends.registry import BACKENDS, open_backend
from harness.schemas.arms import EmbeddedBackend, OpenAIBackend, TransformersBackend

KINDS = [
    pytest.param("embedded", marks=pytest.mark.slow),
    pytest.param("transformers", marks=pytest.mark.slow),
    "openai_api",
]
SAMPLE = Sample(temperature=0.8, top_p=0.9, max_new_tokens=12)
HEAD = "Sentences from clinic notes.\n\nSentence: Forgets names of old friends.\n\n"
REQUESTS = [
    *(Request(f"{HEAD}Finding: {term}\nSentence:", seed, len(HEAD)) for seed, term in enumerate(["falls", "poor recall", "fatigue"])),
    Request("A prompt that shares nothing:", 77),
    Request(f"{HEAD}Finding: falls\nSentence:", 4, len(HEAD)),
]  # fmt: skip


@contextmanager
def opened(kind: str) -> Iterator[Backend]:
    with ExitStack() as stack:
        if kind == "embedded":
            settings = EmbeddedBackend(kind="embedded", batch_size=3)
        elif kind == "transformers":
            from harness.backends.embedded import unpacked_model

            settings = TransformersBackend(
                kind="transformers", model=str(unpacked_model()), dtype="float32", batch_size=3
            )
        else:
            server = stack.enter_context(serving(lambda n, body: completion(f"Reply to {json.dumps(body['seed'])}.")))
            settings = OpenAIBackend(kind="openai_api", base_url=server.base_url, model="toy")
        backend = open_backend(settings)
        stack.callback(backend.close)
        yield backend


def replies(backend: Backend, requests: list[Request]) -> dict[int, str]:
    found: dict[int, str] = {}
    for group in backend.batches(requests):
        for answered in backend.generate([requests[index] for index in group], SAMPLE):
            for index, reply in answered:
                assert reply.status == "ok"
                assert group[index] not in found
                assert "\n" not in reply.text
                assert reply.text == reply.text.strip()
                assert reply.n_completion_tokens is None or reply.n_completion_tokens <= SAMPLE.max_new_tokens
                found[group[index]] = reply.text
    return found


def test_every_kind_is_here() -> None:
    assert {getattr(kind, "values", (kind,))[0] for kind in KINDS} == set(BACKENDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_request_is_answered_once_and_again_the_same(kind: str) -> None:
    with opened(kind) as backend:
        first = replies(backend, REQUESTS)
        assert sorted(first) == list(range(len(REQUESTS)))
        assert replies(backend, REQUESTS) == first
        assert backend.identity.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_another_text(kind: str) -> None:
    with opened(kind) as backend:
        requests = [Request(HEAD + "Sentence:", seed, len(HEAD)) for seed in range(6)]
        assert len(set(replies(backend, requests).values())) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_groups_cover_all_requests_and_depend_on_them_alone(kind: str) -> None:
    with opened(kind) as backend:
        groups = backend.batches(REQUESTS)
        assert sorted(index for group in groups for index in group) == list(range(len(REQUESTS)))
        assert backend.batches(list(REQUESTS)) == groups
        assert backend.batches([]) == []


def test_a_server_error_page_is_no_reply() -> None:
    with serving(lambda n, body: Answer(200, b"oops")) as server:
        settings = OpenAIBackend(kind="openai_api", base_url=server.base_url, model="toy", max_retries=0)
        ((_, reply),) = next(open_backend(settings).generate(REQUESTS[:1], SAMPLE))
    assert (reply.status, reply.text) == ("failed", "")
