"""What a server asks for tokens: a CSV with a row per model, in US dollars per million."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError, Faults, nearest

PER_MILLION = 1_000_000
PROMPT, COMPLETION = "usd_per_million_prompt_tokens", "usd_per_million_completion_tokens"
COLUMNS = ("model", PROMPT, COMPLETION)


@dataclass(frozen=True)
class Price:
    """Of one model, in US dollars per million tokens."""

    prompt: float
    completion: float

    def usd(self, n_prompt_tokens: int, n_completion_tokens: int) -> float:
        return (n_prompt_tokens * self.prompt + n_completion_tokens * self.completion) / PER_MILLION


def read_prices(path: Path, models: Collection[str]) -> dict[str, Price]:
    """Prices by model.

    Args:
        path: CSV with the columns model, usd_per_million_prompt_tokens and usd_per_million_completion_tokens.
        models: Those that must have a row; the table may hold more.

    Raises:
        ConfigError: No such file, a missing column, a price that is no number of 0 or more, a model given twice, or one
            of `models` without a row; all of them, with their rows.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such price table; it is a CSV with the columns {', '.join(COLUMNS)}")
    faults = Faults(str(path))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        found = [name or "" for name in reader.fieldnames or ()]
        missing = [name for name in COLUMNS if name not in found]
        if missing:
            raise ConfigError(f"{path}: missing column {', '.join(missing)}; found {', '.join(found) or 'none'}; "
                              f"a price table has {', '.join(COLUMNS)}")  # fmt: skip
        prices = _read_rows(reader, faults)
    for model in sorted(models):
        if model not in prices:
            known = ", ".join(prices) or "none"
            faults.add(f"no row for model {model!r}{nearest(model, prices)}; found: {known}; a free model costs 0")
    if faults.messages:
        raise ConfigError(faults.render())
    return prices


def _read_rows(reader: csv.DictReader[str], faults: Faults) -> dict[str, Price]:
    prices: dict[str, Price] = {}
    for number, row in enumerate(reader, start=2):
        model = (row["model"] or "").strip()
        if not model:
            faults.add(f"row {number}, column 'model': found nothing; the model's name is required")
        elif model in prices:
            faults.add(f"row {number}, column 'model': {model!r} is given twice; each model has one row")
        else:
            amounts = [_amount(row, column, number, faults) for column in (PROMPT, COMPLETION)]
            prices[model] = Price(*amounts)
    return prices


def _amount(row: Mapping[str, str | None], column: str, number: int, faults: Faults) -> float:
    text = (row[column] or "").strip()
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount >= 0):
        faults.add(f"row {number}, column {column!r}: found {text[:32]!r}; allowed: US dollars, a number of 0 or more")
        return 0.0
    return amount
