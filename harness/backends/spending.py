"""What servers have cost, and what they may still cost: a ledger in the run folder, over all arms and all resumes.

Before a request is sent, the most that it can cost is set aside; when its answer comes, the reported usage takes that
place. Both are written at once, so that after a SIGKILL the requests then in flight stay counted at their most: the
server may have billed them. The same holds for answers that report no usage. Local models are not counted.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.backends.base import UNMETERED, Meter, Request, Sample
from harness.errors import ConfigError, DataError, DiskFullError, SpendingError
from harness.schemas.arms import BackendSettings, OpenAIBackend, Spending
from harness.schemas.prices import Price, read_prices
from harness.store import Run

log = logging.getLogger(__name__)

LEDGER = "spending.sqlite"
# Assumed, and corrected upwards as soon as a server reports more. English prose takes about 4 bytes a token; lists,
# numbers and other scripts take fewer.
BYTES_PER_TOKEN_AT_WORST = 3.0
CHAT_TOKENS = 24  # of a chat template around one turn, at worst
SCHEMA = """CREATE TABLE IF NOT EXISTS spent (
    ticket INTEGER PRIMARY KEY, unit TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
    n_prompt_tokens INTEGER NOT NULL, n_completion_tokens INTEGER NOT NULL
)"""
OPEN, REPORTED, ASSUMED = "open", "reported", "assumed"


@dataclass
class Spent:
    """Tokens that count against the caps, those set aside for requests in flight included."""

    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    n_requests: int = 0
    n_assumed: int = 0
    """Requests whose usage nobody reported: they count at their most."""

    @property
    def n_tokens(self) -> int:
        return self.n_prompt_tokens + self.n_completion_tokens


@dataclass(frozen=True)
class Caps:
    """What the recipe allows.

    Attributes:
        max_tokens_total: Of all servers; None where there is no cap.
        max_usd: Likewise.
        prices: By model; empty where the recipe gives none.
    """

    max_tokens_total: int | None = None
    max_usd: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)

    def usd(self, spent: Mapping[str, Spent]) -> float | None:
        """Money for what was spent, by model; None where a model has no price."""
        if any(model not in self.prices for model in spent):
            return None
        return math.fsum(
            self.prices[model].usd(one.n_prompt_tokens, one.n_completion_tokens) for model, one in spent.items()
        )


@dataclass(frozen=True)
class _Held:
    """What a ticket sets aside, in tokens; `estimate` is of the prompt, before what servers taught us."""

    estimate: int
    n_prompt: int
    n_completion: int


def load_caps(spending: Spending, models: set[str]) -> Caps:
    """The recipe's caps with its price table.

    Raises:
        ConfigError: A price table that cannot be used, or that lacks one of these models.
    """
    prices = {} if spending.prices is None else read_prices(spending.prices, models)
    return Caps(max_tokens_total=spending.max_tokens_total, max_usd=spending.max_usd, prices=prices)


@contextmanager
def open_meter(run: Run, unit: str, settings: BackendSettings) -> Iterator[Meter]:
    """The meter of one unit of work: counts a server's requests against the recipe's caps; lets local models pass.

    Args:
        run: Whose ledger and caps.
        unit: Title of the unit, for the ledger.
        settings: Of the backend that will be asked.

    Raises:
        ConfigError: The price table lacks this model, or one that was paid for before.
        DataError: The ledger is damaged.
    """
    if not isinstance(settings, OpenAIBackend):
        yield UNMETERED
        return
    caps = load_caps(run.recipe.file.spending, {settings.model})
    connection = _open(run.folder / LEDGER)
    try:
        meter = LedgerMeter(connection, caps, unit=unit, model=settings.model)
        yield meter
        meter.report()
    finally:
        connection.close()


def read_spent(folder: Path) -> dict[str, Spent]:
    """What the ledger of a run folder holds, by model; nothing where there is no ledger.

    Raises:
        DataError: The ledger is damaged.
    """
    if not (folder / LEDGER).is_file():
        return {}
    connection = _open(folder / LEDGER)
    try:
        return _sums(connection)
    finally:
        connection.close()


def read_spent_by_unit(folder: Path) -> dict[str, dict[str, Spent]]:
    """The same for each unit of work (`generation/<arm>`, `annotation/<arm>`) by itself, then by model."""
    if not (folder / LEDGER).is_file():
        return {}
    connection = _open(folder / LEDGER)
    try:
        units = [unit for (unit,) in connection.execute("SELECT DISTINCT unit FROM spent ORDER BY unit")]
        return {unit: _sums(connection, unit) for unit in units}
    finally:
        connection.close()


class LedgerMeter:
    """Counts requests of one unit and model in an open ledger.

    Raises:
        ConfigError: Money is capped, and a model in the ledger has no price.
    """

    def __init__(self, connection: sqlite3.Connection, caps: Caps, *, unit: str, model: str) -> None:
        self._connection = connection
        self._caps = caps
        self._unit, self._model = unit, model
        self._held: dict[int, _Held] = {}
        self._excess = 1.0  # reported prompt tokens over our estimate, where larger than 1
        self._n_assumed = 0
        connection.execute("UPDATE spent SET state = ? WHERE state = ?", (ASSUMED, OPEN))  # in flight at a kill
        self._spent = _sums(connection)
        self._spent.setdefault(model, Spent())
        unpriced = [one for one in self._spent if one not in caps.prices]
        if caps.max_usd is not None and unpriced:
            raise ConfigError(f"spending.prices: no row for {', '.join(map(repr, unpriced))}, which this run has paid "
                              "for before; max_usd cannot be kept without it")  # fmt: skip

    def reserve(self, request: Request, sample: Sample) -> int | None:
        held = self._most(request, sample)
        if self._exceeded(held) is not None:
            return None
        ticket = self._write(
            "INSERT INTO spent (unit, model, state, n_prompt_tokens, n_completion_tokens) VALUES (?, ?, ?, ?, ?)",
            (self._unit, self._model, OPEN, held.n_prompt, held.n_completion),
        )
        self._held[ticket] = held
        self._add(held.n_prompt, held.n_completion)
        self._spent[self._model].n_requests += 1
        return ticket

    def settle(self, ticket: int, n_prompt_tokens: int | None, n_completion_tokens: int | None) -> None:
        held = self._held.pop(ticket)
        is_assumed = n_prompt_tokens is None or n_completion_tokens is None
        n_prompt = held.n_prompt if n_prompt_tokens is None else n_prompt_tokens
        n_completion = held.n_completion if n_completion_tokens is None else n_completion_tokens
        self._write(
            "UPDATE spent SET state = ?, n_prompt_tokens = ?, n_completion_tokens = ? WHERE ticket = ?",
            (ASSUMED if is_assumed else REPORTED, n_prompt, n_completion, ticket),
        )
        self._add(n_prompt - held.n_prompt, n_completion - held.n_completion)
        self._excess = max(self._excess, (n_prompt_tokens or 0) / held.estimate)
        self._n_assumed += is_assumed
        self._spent[self._model].n_assumed += is_assumed

    def refusal(self, request: Request, sample: Sample) -> SpendingError:
        held = self._most(request, sample)
        cap = self._exceeded(held) or "max_tokens_total"
        needed = f"{held.n_prompt + held.n_completion:,} tokens"
        if cap == "max_usd":
            needed += f" (${self._caps.prices[self._model].usd(held.n_prompt, held.n_completion):.6f})"
        return SpendingError(
            f"spending.{cap} stops here: {self.told()}, and the next request may take {needed}. Raise the cap and run "
            "the same command again; what was answered is kept and not asked again"
        )

    def _most(self, request: Request, sample: Sample) -> _Held:
        estimate = prompt_tokens_at_worst(request)
        return _Held(estimate, math.ceil(estimate * self._excess), sample.max_new_tokens)

    def report(self) -> None:
        """One line for the log; a warning where a server did not say what it used."""
        log.info("%s: %s", self._unit, self.told())
        if self._n_assumed:
            log.warning("%s: %d requests came back without usage and count at the most they can have cost; a server "
                        "that reports usage is counted exactly", self._unit, self._n_assumed)  # fmt: skip

    def told(self) -> str:
        """What was spent, in words."""
        every = list(self._spent.values())
        n_tokens, n_assumed = sum(one.n_tokens for one in every), sum(one.n_assumed for one in every)
        cap = self._caps.max_tokens_total
        words = f"{n_tokens:,} tokens{'' if cap is None else f' of {cap:,}'}"
        usd = self._caps.usd(self._spent)
        if usd is not None:
            words += f" and ${usd:.4f}{'' if self._caps.max_usd is None else f' of ${self._caps.max_usd:g}'}"
        words += f" are spent on {sum(one.n_requests for one in every):,} requests"
        return words + (f", {n_assumed:,} of them counted at their most" if n_assumed else "")

    def _exceeded(self, held: _Held) -> str | None:
        """The cap that a further request of this size could break; None where it fits."""
        cap, max_usd = self._caps.max_tokens_total, self._caps.max_usd
        n_tokens = sum(one.n_tokens for one in self._spent.values())
        if cap is not None and n_tokens + held.n_prompt + held.n_completion > cap:
            return "max_tokens_total"
        if max_usd is not None:
            usd = self._caps.usd(self._spent) or 0.0
            if usd + self._caps.prices[self._model].usd(held.n_prompt, held.n_completion) > max_usd:
                return "max_usd"
        return None

    def _add(self, n_prompt: int, n_completion: int) -> None:
        spent = self._spent[self._model]
        spent.n_prompt_tokens += n_prompt
        spent.n_completion_tokens += n_completion

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            return int(self._connection.execute(statement, values).lastrowid or 0)
        except sqlite3.OperationalError as error:
            raise DiskFullError(f"{LEDGER}: cannot be written ({error}); free some disk and run again") from error


def prompt_tokens_at_worst(request: Request) -> int:
    """An upper estimate of the tokens a server will count for a prompt whose tokenizer we do not have."""
    schema = "" if request.answer_schema is None else json.dumps(request.answer_schema)
    n_bytes = len(request.prompt.encode()) + len(schema.encode())
    return CHAT_TOKENS + math.ceil(n_bytes / BYTES_PER_TOKEN_AT_WORST)


def _sums(connection: sqlite3.Connection, unit: str | None = None) -> dict[str, Spent]:
    """What was spent by model, on one unit or on all."""
    query = (
        "SELECT model, sum(n_prompt_tokens), sum(n_completion_tokens), count(*), sum(state != ?) FROM spent "
        "WHERE ? IS NULL OR unit = ? GROUP BY model ORDER BY model"
    )
    rows: list[Any] = connection.execute(query, (REPORTED, unit, unit)).fetchall()
    return {model: Spent(*counts) for model, *counts in rows}


def _open(path: Path) -> sqlite3.Connection:
    """Autocommit. Without a wait for the disk: SIGKILL loses nothing, a power failure may lose the last seconds."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # an exclusive lock first: the write-ahead log then needs no shared memory, which network folders lack
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(SCHEMA)
    except sqlite3.OperationalError as error:
        connection.close()
        raise DiskFullError(f"{path}: cannot be opened for writing ({error}); is the disk full?") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise DataError(f"{path}: not a readable ledger of what was spent; remove it to count from zero") from error
    return connection
