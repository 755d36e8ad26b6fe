"""All replies to a list of requests, in its order; a server that is down is noticed before thousands more are sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from harness.backends.base import Answered, Reply, Request
from harness.errors import BackendError

# A server that fails this often in a row is down; asking thousands of times more would only take hours.
FAILURES_IN_A_ROW = 32

Answer = Callable[[Sequence[Request]], Generator[Answered, None, None]]


def gather(requests: Sequence[Request], answer: Answer, watch: Callable[[Reply], None]) -> list[Reply]:
    """Replies in the order of the requests.

    Args:
        requests: What is asked.
        answer: Replies to requests, in any order, each index once.
        watch: Told each reply as it comes.

    Raises:
        BackendError: Requests fail throughout, with the reasons counted.
    """
    replies: dict[int, Reply] = {}
    failed_in_a_row: Counter[str] = Counter()
    with closing(answer(requests)) as answers:
        for answered in answers:
            for index, reply in answered:
                replies[index] = reply
                watch(reply)
                if reply.status == "ok":
                    failed_in_a_row.clear()
                else:
                    failed_in_a_row[reply.reason or "?"] += 1
            if failed_in_a_row.total() >= FAILURES_IN_A_ROW:
                counted = ", ".join(f"{reason}: {n}" for reason, n in failed_in_a_row.most_common())
                raise BackendError(
                    f"{failed_in_a_row.total()} requests in a row failed ({counted}); run again to go on"
                )
    return [replies[index] for index in range(len(requests))]
