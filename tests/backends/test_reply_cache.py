import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.backends.base import UNMETERED, Answered, Identity, Meter, Reply, Request, Sample, request_key
from harness.backends.cache import ReplyCache, ask
from harness.errors import DiskFullError

SAMPLE = Sample(temperature=0.7, top_p=0.9, max_new_tokens=16)
IDENTITY = Identity("toy", "m", "r1")


class Echo:
    """A backend of its own: writes the prompt back, two requests a group, and fails where it is told to."""

    def __init__(self, fail: frozenset[str] = frozenset(), stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.fail = fail
        self.stop_after = stop_after

    @property
    def identity(self) -> Identity:
        return IDENTITY

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [list(range(start, min(start + 2, len(requests)))) for start in range(0, len(requests), 2)]

    def scope(self, requests: Sequence[Request]) -> str:
        return ""

    def generate(self, requests: Sequence[Request], sample: Sample, meter: Meter = UNMETERED) -> Iterator[Answered]:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += [request.prompt for request in requests]
        yield [
            (
                index,
                Reply("failed", reason="told to")
                if request.prompt in self.fail
                else Reply("ok", request.prompt.upper()),
            )
            for index, request in enumerate(requests)
        ]

    def close(self) -> None:
        pass


def requests(n: int) -> list[Request]:
    return [Request(prompt=f"p{index}", seed=index) for index in range(n)]


def texts(backend: Echo, n: int, path: Path) -> list[str]:
    with ReplyCache(path) as cache:
        found = dict(one for answered in ask(backend, requests(n), SAMPLE, cache) for one in answered)
    return [found[index].text for index in range(n)]


def test_a_finished_request_is_never_asked_again(tmp_path: Path) -> None:
    first, second = Echo(), Echo()
    assert texts(first, 5, tmp_path / "c") == texts(second, 5, tmp_path / "c") == ["P0", "P1", "P2", "P3", "P4"]
    assert (len(first.asked), second.asked) == (5, [])


def test_an_interruption_keeps_finished_groups_and_only_the_rest_is_asked(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        texts(Echo(stop_after=4), 7, tmp_path / "c")
    again = Echo()
    assert texts(again, 7, tmp_path / "c") == [f"P{index}" for index in range(7)]
    assert again.asked == ["p4", "p5", "p6"]


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    assert texts(Echo(fail=frozenset({"p1"})), 2, tmp_path / "c") == ["P0", ""]
    again = Echo()
    assert texts(again, 2, tmp_path / "c") == ["P0", "P1"]
    assert again.asked == ["p1"]


def test_everything_that_decides_a_text_is_in_its_key() -> None:
    request = Request("p", 1)
    keys = {
        request_key(IDENTITY, request, SAMPLE, ""),
        request_key(Identity("toy", "m", "r2"), request, SAMPLE, ""),
        request_key(Identity("toy", "n", "r1"), request, SAMPLE, ""),
        request_key(Identity("toy", "m", "r1", "bfloat16"), request, SAMPLE, ""),
        request_key(IDENTITY, Request("q", 1), SAMPLE, ""),
        request_key(IDENTITY, Request("p", 2), SAMPLE, ""),
        request_key(IDENTITY, request, Sample(0.8, 0.9, 16), ""),
        request_key(IDENTITY, request, Sample(0.7, 0.8, 16), ""),
        request_key(IDENTITY, request, Sample(0.7, 0.9, 17), ""),
        request_key(IDENTITY, request, SAMPLE, "group"),
        request_key(IDENTITY, Request("p", 1, multiline=True), SAMPLE, ""),
        request_key(IDENTITY, Request("p", 1, answer_schema={"type": "object"}), SAMPLE, ""),
        request_key(IDENTITY, Request("p", 1, answer_schema={"type": "array"}), SAMPLE, ""),
    }
    assert len(keys) == 13
    assert request_key(IDENTITY, Request("p", 1, n_shared_chars=1), SAMPLE, "") in keys  # a hint decides nothing


def test_no_prompt_is_stored(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "c") as cache:
        list(ask(Echo(fail=frozenset({"a secret prompt"})), [Request("a secret prompt", 1)], SAMPLE, cache))
    assert b"secret" not in (tmp_path / "c").read_bytes()


def test_a_damaged_cache_is_started_afresh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "c").write_bytes(b"this is no database at all " * 100)
    assert texts(Echo(), 2, tmp_path / "c") == ["P0", "P1"]
    assert "started afresh" in caplog.text
    assert texts(Echo(), 2, tmp_path / "c") == ["P0", "P1"]


def test_an_uncommitted_group_leaves_no_trace(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "c") as cache:
        cache.put([("k1", Reply("ok", "one"))])
    torn = sqlite3.connect(tmp_path / "c")
    torn.execute("INSERT INTO replies VALUES ('k2', 'ok', 'two', NULL, NULL, NULL, NULL)")
    torn.close()  # as a killed process would: without commit
    with ReplyCache(tmp_path / "c") as cache:
        assert cache.get(["k1", "k2"]) == {"k1": Reply("ok", "one")}


def test_many_keys_are_looked_up_in_parts(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "c") as cache:
        cache.put([(f"k{index}", Reply("ok", str(index))) for index in range(1203)])
        found = cache.get([f"k{index}" for index in range(2000)])
    assert len(found) == 1203


def test_a_full_disk_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "c") as cache:
        cache.put([("k", Reply("ok", "kept"))])
        cache._connection.execute("PRAGMA max_page_count = 4")  # stands in for a full disk: SQLite answers the same
        with pytest.raises(DiskFullError, match="no space left"):
            cache.put([(f"k{index}", Reply("ok", "x" * 1000)) for index in range(100)])
        assert cache.get(["k", "k0"]) == {"k": Reply("ok", "kept")}
