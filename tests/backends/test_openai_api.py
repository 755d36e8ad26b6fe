import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from local_server import Answer, completion, serving

from harness.backends.base import Reply, Request, Sample
from harness.backends.registry import open_backend
from harness.errors import BackendError, ConfigError
from harness.schemas.arms import OpenAIBackend

SAMPLE = Sample(temperature=0.7, top_p=0.9, max_new_tokens=16)


def settings(base_url: str, **more: object) -> OpenAIBackend:
    given = {"kind": "openai_api", "base_url": base_url, "model": "toy", "max_retries": 2, "timeout_s": 5, **more}
    return OpenAIBackend.model_validate(given)


def ask(base_url: str, n: int = 1, **more: object) -> list[Reply]:
    return replies_to([Request(prompt=f"prompt {index}", seed=index) for index in range(n)], base_url, **more)


def replies_to(requests: list[Request], base_url: str, **more: object) -> list[Reply]:
    backend = open_backend(settings(base_url, **more))
    found = dict(one for answered in backend.generate(requests, SAMPLE) for one in answered)
    return [found[index] for index in range(len(requests))]


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_prompt_sampling_and_seed_reach_the_server(endpoint: str) -> None:
    with serving(lambda n, body: completion(" Gait unsteady.\nNext line")) as server:
        (reply,) = ask(server.base_url, endpoint=endpoint)
    assert reply == Reply("ok", "Gait unsteady.", None, "stop", 5, 3)
    body = server.bodies[0]
    assert (body["model"], body["seed"], body["max_tokens"], body["temperature"]) == ("toy", 0, 16, 0.7)
    prompt = body["messages"][0]["content"] if endpoint == "chat" else body["prompt"]
    assert prompt == "prompt 0"


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_whole_text_is_asked_for_without_a_stop_and_kept_whole(endpoint: str) -> None:
    with serving(lambda n, body: completion("\nSubjective: tired.\n\nPlan: rest.\n")) as server:
        (reply,) = replies_to([Request("p", 1, multiline=True)], server.base_url, endpoint=endpoint)
    assert reply.text == "Subjective: tired.\n\nPlan: rest."
    assert "stop" not in server.bodies[0]


def test_the_schema_of_an_answer_is_sent_as_the_server_offers_it() -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}}
    asked = [Request("p", 1, answer_schema=schema), Request("p", 2)]
    formats = {}
    with serving(lambda n, body: completion('{"label": "a"}')) as server:
        for offered in ("none", "json_object", "json_schema"):
            del server.bodies[:]
            assert replies_to(asked, server.base_url, structured_output=offered)[0].text == '{"label": "a"}'
            by_seed = {body["seed"]: body.get("response_format") for body in server.bodies}
            assert by_seed[2] is None
            formats[offered] = by_seed[1]
    assert formats["none"] is None
    assert formats["json_object"] == {"type": "json_object"}
    assert formats["json_schema"]["type"] == "json_schema"
    assert formats["json_schema"]["json_schema"]["schema"] == schema


def test_a_server_error_is_asked_again_until_it_answers() -> None:
    with serving(lambda n, body: Answer(500) if n < 2 else completion("Weight loss of 5 lb.")) as server:
        assert ask(server.base_url)[0].text == "Weight loss of 5 lb."
    assert len(server.bodies) == 3


def test_a_server_that_always_fails_gives_failed_replies_and_no_text() -> None:
    with serving(lambda n, body: Answer(500, b"Sentence: not a text")) as server:
        replies = ask(server.base_url, 3, max_retries=1)
    assert replies == [Reply("failed", reason="HTTP 500")] * 3
    assert len(server.bodies) == 6


def test_retry_after_is_obeyed() -> None:
    with serving(
        lambda n, body: Answer(429, headers={"Retry-After": "1"}) if n == 0 else completion("ok now")
    ) as server:
        started = time.monotonic()
        assert ask(server.base_url)[0].status == "ok"
    assert 1.0 <= time.monotonic() - started < 3.0


def test_retry_after_may_be_a_date() -> None:
    from harness.backends.openai_api import retry_after_s

    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert retry_after_s({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, now) == 30.0
    assert retry_after_s({"retry-after": "Fri, 02 Jan 2026 03:04:00 GMT"}, now) == 0.0
    assert retry_after_s({"retry-after": "soon"}, now) is None
    assert retry_after_s({}, now) is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>busy</html>", "not an OpenAI-compatible answer"),
        (b"{}", "not an OpenAI-compatible answer"),
        (b'{"choices": []}', "not an OpenAI-compatible answer"),
        (
            b'{"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}',
            "more than one choice in the answer",
        ),
        (b'{"choices": [{"message": {"content": null}}]}', "no text in the answer"),
        (b"[1, 2]", "not an OpenAI-compatible answer"),
    ],
)
def test_garbage_is_a_failure_and_never_a_text(body: bytes, reason: str) -> None:
    with serving(lambda n, _: Answer(200, body)) as server:
        assert ask(server.base_url, max_retries=1) == [Reply("failed", reason=reason)]


def test_a_bad_request_is_not_repeated() -> None:
    with serving(lambda n, body: Answer(400)) as server:
        assert ask(server.base_url) == [Reply("failed", reason="HTTP 400")]
    assert len(server.bodies) == 1


def test_a_hanging_server_times_out() -> None:
    release = threading.Event()

    def hang(n: int, body: object) -> Answer:
        release.wait(5)
        return Answer(200)

    with serving(hang) as server:
        replies = ask(server.base_url, max_retries=0, timeout_s=0.3)
        release.set()
    assert replies == [Reply("failed", reason="timeout")]


def test_a_closed_port_is_named_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    started = time.monotonic()
    with pytest.raises(BackendError, match=f"no answer from {url}"):
        ask(url, 50)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_stops_everything_and_names_address_and_model(status: int) -> None:
    with serving(lambda n, body: Answer(status)) as server, pytest.raises(BackendError, match=str(status)) as caught:
        ask(server.base_url, 20)
    assert server.base_url in str(caught.value)
    assert "'toy'" in str(caught.value)
    assert len(server.bodies) <= 8


def test_a_refused_key_shows_before_the_first_request() -> None:
    with (
        serving(lambda n, body: completion("x"), models=401) as server,
        pytest.raises(BackendError, match="refuses the key"),
    ):
        ask(server.base_url)
    assert server.bodies == []


def test_the_key_comes_from_the_environment_and_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "s3cret")
    with serving(lambda n, body: completion("a line")) as server:
        ask(server.base_url, api_key_env="TOY_KEY")
    assert server.keys == ["Bearer s3cret"]
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(ConfigError, match="TOY_KEY is not set"):
        open_backend(settings(server.base_url, api_key_env="TOY_KEY"))


def test_a_server_that_drips_bytes_times_out_as_a_whole() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        stop = threading.Event()

        def drip() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    request = connection.recv(65536)
                    if request.startswith(b"GET"):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                        continue
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    for _ in range(60):  # a byte every 50 ms: never idle for the 0.4 s below, never done
                        if stop.wait(0.05):
                            return
                        with suppress(OSError):
                            connection.sendall(b" ")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        started = time.monotonic()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        replies = ask(url, max_retries=0, timeout_s=0.4)
        stop.set()
    assert replies == [Reply("failed", reason="timeout")]
    assert time.monotonic() - started < 2.5
    thread.join(2)


def test_more_than_a_hundred_may_be_in_flight_and_connections_are_kept() -> None:
    everybody = threading.Barrier(110)

    def answer(n: int, body: object) -> Answer:
        if n < 110:
            everybody.wait(20)  # answers none before 110 are there; httpx by itself opens a hundred connections
        return completion("A line.")

    with serving(answer, keep_alive=True) as server:
        replies = ask(server.base_url, 160, concurrency=110, max_retries=0, timeout_s=30)
    assert {reply.status for reply in replies} == {"ok"}
    assert server.n_connections < 160


def test_waiting_times_double_and_are_spread_and_a_servers_wish_is_kept() -> None:
    from harness.backends.openai_api import FIRST_WAIT_S, MAX_WAIT_S, waiting_time_s

    assert [waiting_time_s(attempt, None, jitter=0.5) for attempt in range(3)] == [0.5, 1.0, 2.0]
    assert waiting_time_s(0, None, jitter=0.0) == FIRST_WAIT_S / 2
    assert waiting_time_s(30, None, jitter=0.9) == MAX_WAIT_S
    assert waiting_time_s(5, 3.0, jitter=0.0) == 3.0
    assert 3.0 < waiting_time_s(5, 3.0, jitter=0.9) < 3.5


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def answer(n: int, body: object) -> Answer:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return completion("A line.")

    with serving(answer) as server:
        assert len(ask(server.base_url, 24, concurrency=4)) == 24
    assert 2 <= most[0] <= 4


def test_stopping_early_leaves_nothing_open() -> None:
    with serving(lambda n, body: completion("A line.")) as server:
        backend = open_backend(settings(server.base_url, concurrency=2))
        replies = backend.generate([Request(f"p{i}", i) for i in range(40)], SAMPLE)
        next(replies)
        replies.close()  # warnings are errors: an open client or task would fail this test
    assert len(server.bodies) < 40


def test_a_line_cut_by_the_token_limit_says_so() -> None:
    cut = '{"choices": [{"message": {"content": "The patient was"}, "finish_reason": "length"}]}'
    with serving(lambda n, body: Answer(200, cut.encode())) as server:
        assert ask(server.base_url)[0].finish_reason == "length"
