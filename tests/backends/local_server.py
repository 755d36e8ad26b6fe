"""A small HTTP server on the loopback that behaves as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class LocalServer:
    base_url: str
    bodies: list[dict[str, Any]]
    keys: list[str | None]
    n_connections: int = 0


def completion(text: str, **more: Any) -> Answer:
    content = {"choices": [{"text": text, "message": {"content": text}, "finish_reason": "stop"}],
               "usage": {"prompt_tokens": 5, "completion_tokens": 3}, **more}  # fmt: skip
    return Answer(body=json.dumps(content).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def serving(
    answer: Callable[[int, dict[str, Any]], Answer], *, models: int = 200, keep_alive: bool = False
) -> Iterator[LocalServer]:
    """Serve `answer(n_requests_before, body)` at every POST, and the status `models` at every GET."""
    lock = threading.Lock()
    server = LocalServer("", [], [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"

        def setup(self) -> None:
            super().setup()
            with lock:
                server.n_connections += 1

        def do_GET(self) -> None:
            self._send(Answer(status=models, body=b"{}"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                n_before = len(server.bodies)
                server.bodies.append(body)
                server.keys.append(self.headers.get("Authorization"))
            self._send(answer(n_before, body))

        def _send(self, one: Answer) -> None:
            try:
                self.send_response(one.status)
                for name, value in one.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(one.body)))
                self.end_headers()
                self.wfile.write(one.body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up waiting, as some tests want

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    http = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
