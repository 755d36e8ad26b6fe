"""What a metric returns: a value, or the reason why there is none. Undefined is not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "undefined", "insufficient"]


@dataclass(frozen=True)
class Estimate:
    """A number, or why there is none.

    Attributes:
        value: None unless the status is `ok`.
        status: `undefined` where the formula has no value on these sentences; `insufficient` where it has one that
            rests on too few patients or positives to be shown.
        reason: Why there is no value; for an `ok` estimate a remark that a reader needs, or None.
    """

    value: float | None
    status: Status
    reason: str | None = None


def known(value: float, remark: str | None = None) -> Estimate:
    return Estimate(float(value), "ok", remark)


def undefined(reason: str) -> Estimate:
    return Estimate(None, "undefined", reason)


def insufficient(reason: str) -> Estimate:
    return Estimate(None, "insufficient", reason)
