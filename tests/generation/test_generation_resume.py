"""Killed with SIGKILL in the middle of generation, a second run goes on and writes the same tables to the byte."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_arms import toy_run

from harness.store import sha256_file

pytestmark = pytest.mark.slow
N_SENTENCES = 12


def start(folder: Path) -> subprocess.Popen[bytes]:
    toy_run(folder, {"dual": {"sees": ["label"], "backend": {"kind": "embedded"}}})  # writes the tables it reads
    command = [sys.executable, str(Path(__file__).parent / "kill_target.py"), str(folder), str(N_SENTENCES)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def n_replies(cache: Path) -> int:
    if not cache.is_file():
        return 0
    connection = sqlite3.connect(cache)
    try:
        return int(connection.execute("SELECT count(*) FROM replies").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # being written
    finally:
        connection.close()


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()[-2000:]


def hashes(folder: Path) -> list[str]:
    return [
        sha256_file(folder / "run" / "02_generation" / "dual" / f"{name}.parquet") for name in ("synthetic", "rejected")
    ]


def test_a_kill_in_mid_generation_changes_no_byte(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finish(start(undisturbed))
    cache = killed / "run" / "02_generation" / "dual" / "requests.sqlite"
    total = n_replies(undisturbed / "run" / "02_generation" / "dual" / "requests.sqlite")
    assert total > N_SENTENCES // 2
    seen = 0
    for wanted in (1, total // 2):
        process = start(killed)
        deadline = time.monotonic() + 200
        while n_replies(cache) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert n_replies(cache) >= max(wanted, seen)
        seen = n_replies(cache)
        assert not (cache.parent / "synthetic.parquet").exists()
    finish(start(killed))
    assert hashes(killed) == hashes(undisturbed)
    assert n_replies(cache) == total  # nothing was asked twice
