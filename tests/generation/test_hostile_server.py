"""A server that refuses, breaks, hangs, cuts and resets: with a SIGKILL on top, no row is lost and none asked twice."""

import json
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hostile_target import N_SENTENCES, arms
from toy_arms import toy_run, write_sentence

from harness.backends.base import Identity, Request, Sample, request_key
from harness.backends.spending import read_spent
from harness.schemas.tables import SYNTHETIC
from harness.store import read_rows, sha256_file

pytestmark = pytest.mark.slow
FAULTS = ("429", "500", "503", "hang", "truncated", "not json", "reset", "no choices", "two choices", "null")
N_PROMPT, N_COMPLETION = 11, 7


class Hostile:
    """What the server does is decided by a request's seed and by how often that request came before.

    The first tries of about half of the requests go wrong, each in a way of its own; then the answer comes. Its text
    depends on the seed alone, and is empty for one in twenty.
    """

    def __init__(self, *, is_hostile: bool) -> None:
        self.is_hostile = is_hostile
        self.bodies: list[dict[str, Any]] = []
        self.done: Counter[str] = Counter()
        self._n_tries: Counter[int] = Counter()
        self._lock = threading.Lock()

    def fault(self, body: dict[str, Any]) -> str | None:
        with self._lock:
            self.bodies.append(body)
            n_before = self._n_tries[body["seed"]]
            self._n_tries[body["seed"]] += 1
            rng = random.Random(body["seed"])
            planned = [rng.choice(FAULTS) for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))]
            fault = planned[n_before] if self.is_hostile and n_before < len(planned) else None
            self.done[fault or "answered"] += 1
        return fault

    def text(self, body: dict[str, Any]) -> str:
        if random.Random(f"{body['seed']} empty").random() < 0.05:
            return ""
        return write_sentence(body["messages"][0]["content"], body["seed"])


@contextmanager
def serving(hostile: Hostile) -> Iterator[str]:
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, b"{}")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = hostile.fault(body)
            choice = {"message": {"content": hostile.text(body)}, "finish_reason": "stop"}
            content = {"choices": [choice], "usage": {"prompt_tokens": N_PROMPT, "completion_tokens": N_COMPLETION}}
            good = json.dumps(content).encode()
            acts: dict[str | None, Callable[[], None]] = {
                None: lambda: self._send(200, good),
                "429": lambda: self._send(429, b"busy", {"Retry-After": "0"}),
                "500": lambda: self._send(500, b"Sentence: not a text"),
                "503": lambda: self._send(503, b""),
                "hang": self._hang,
                "truncated": lambda: self._send(200, good[: len(good) // 2], {"Content-Length": str(len(good))}),
                "not json": lambda: self._send(200, good[: len(good) // 2]),
                "reset": self._reset,
                "no choices": lambda: self._send(200, json.dumps({**content, "choices": []}).encode()),
                "two choices": lambda: self._send(200, json.dumps({**content, "choices": [choice] * 2}).encode()),
                "null": lambda: self._send(200, json.dumps({"choices": [{"message": {"content": None}}]}).encode()),
            }
            acts[fault]()

        def _hang(self) -> None:
            released.wait(20)
            self.close_connection = True

        def _reset(self) -> None:
            """Close with a TCP reset in place of an answer."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client is gone, as after the kill
            if headers is not None and "Content-Length" in headers:
                self.close_connection = True  # with half of the body sent

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError, ValueError):  # reset above
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a killed client breaks its connections

    http = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        released.set()
        http.shutdown()
        http.server_close()
        thread.join()


def start(folder: Path, base_url: str) -> "subprocess.Popen[bytes]":
    toy_run(folder, {**arms(base_url)})  # writes the tables it reads
    command = [sys.executable, str(Path(__file__).parent / "hostile_target.py"), str(folder), base_url]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]") -> None:
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors.decode()[-2000:]


def kept_keys(cache: Path) -> set[str]:
    connection = sqlite3.connect(cache)
    try:
        return {key for (key,) in connection.execute("SELECT key FROM replies")}
    finally:
        connection.close()


def key_of(body: dict[str, Any], base_url: str) -> str:
    identity = Identity("openai_api", "toy", "served", f"{base_url},chat")
    sample = Sample(body["temperature"], body["top_p"], body["max_tokens"])
    return request_key(identity, Request(body["messages"][0]["content"], body["seed"]), sample, "")


def test_no_row_is_lost_and_no_kept_reply_asked_for_again(tmp_path: Path) -> None:
    arm = Path("run") / "02_generation" / "dual"
    honest = Hostile(is_hostile=False)
    with serving(honest) as url:
        finish(start(tmp_path / "honest", url))
    hostile = Hostile(is_hostile=True)
    cache = tmp_path / "hostile" / arm / "requests.sqlite"
    with serving(hostile) as url:
        process = start(tmp_path / "hostile", url)
        deadline = time.monotonic() + 100
        while hostile.done["answered"] < 90 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept, n_before = kept_keys(cache), len(hostile.bodies)
        assert kept
        assert not (cache.parent / "synthetic.parquet").exists()
        finish(start(tmp_path / "hostile", url))
        asked_later = {key_of(body, url) for body in hostile.bodies[n_before:]}
    assert not kept & asked_later
    assert set(FAULTS) <= set(hostile.done)
    assert sum(hostile.done.values()) > 300
    # the same rows as from a server that never failed, each once, to the byte
    for table in ("synthetic", "planned", "rejected"):
        name = f"{table}.parquet"
        assert sha256_file(tmp_path / "hostile" / arm / name) == sha256_file(tmp_path / "honest" / arm / name)
    rows = read_rows(tmp_path / "hostile" / arm / "synthetic.parquet", SYNTHETIC)
    assert [row["text_id"] for row in rows] == [f"{index:06d}" for index in range(N_SENTENCES)]
    assert any(row["n_attempts"] > 1 for row in rows)  # where the first text was empty
    assert len(kept_keys(cache)) == len(honest.bodies)
    # the ledger holds at least what the server has counted, lost answers included
    assert (
        read_spent(tmp_path / "hostile" / "run")["toy"].n_tokens >= (N_PROMPT + N_COMPLETION) * hostile.done["answered"]
    )
    assert read_spent(tmp_path / "honest" / "run")["toy"].n_tokens == (N_PROMPT + N_COMPLETION) * len(honest.bodies)
