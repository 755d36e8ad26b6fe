"""How far a unit came: a small file beside its tables says that it was begun, and how it ended if it ended badly.

The file is gone once the manifest is there. A unit whose file says `running` while its process is gone was interrupted:
nobody was left to say so.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import DivergedError, HarnessError

STATE_FILE = ".state.json"
Status = Literal["finished", "running", "interrupted", "failed", "diverged", "not begun"]


@dataclass(frozen=True)
class State:
    """A status, and the reason where something went wrong."""

    status: Status
    reason: str | None = None

    @property
    def words(self) -> str:
        """As the middle of a sentence: `is interrupted (...)`."""
        return self.status if self.reason is None else f"{self.status} ({self.reason})"


def begun() -> dict[str, Any]:
    """What the state file holds while this process works on a unit."""
    return {"status": "running", "host": socket.gethostname(), "process": process_mark(os.getpid())}


def ended_badly(error: BaseException) -> dict[str, Any]:
    """What it holds after an error; a bug's message may hold data, so only its class is kept."""
    if isinstance(error, KeyboardInterrupt):
        return {"status": "interrupted", "reason": "by the user"}
    said = str(error).splitlines()[0] if isinstance(error, HarnessError) and str(error) else type(error).__name__
    return {"status": "diverged" if isinstance(error, DivergedError) else "failed", "reason": said}


def state_of(folder: Path, *, finished: bool) -> State:
    """How the unit in `folder` stands; `finished` says whether its manifest is there."""
    if finished:
        return State("finished")
    try:
        found = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        left = folder.is_dir() and any(folder.iterdir())
        return State("interrupted", "its files are not complete") if left else State("not begun")
    if found.get("status") != "running":
        return State(found["status"], found.get("reason"))
    return _running_or_not(found)


def process_mark(number: int) -> str:
    """`<pid> <start time>`: process numbers are used again, start times are not. Empty for a process that is gone."""
    import psutil

    try:
        return f"{number} {psutil.Process(number).create_time()}"
    except psutil.NoSuchProcess:
        return ""


def _running_or_not(found: Mapping[str, Any]) -> State:
    host, mark = found.get("host"), str(found.get("process", ""))
    if host != socket.gethostname():
        return State("running", f"or interrupted: its process is on {host}")
    number = mark.split(maxsplit=1)[0] if mark else ""
    alive = number.isdigit() and process_mark(int(number)) == mark
    return State("running") if alive else State("interrupted", "its process is gone")
