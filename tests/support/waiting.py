"""Waiting for what comes about by itself: the one place where a test pauses."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def eventually(
    look: Callable[[], Seen],
    what: str,
    *,
    holds: Callable[[Seen], object] = bool,
    within: float = 40.0,
    pause: float = 0.1,
) -> Seen:
    """What `look` returns, as soon as it `holds`: by default, as soon as it is true.

    It is looked at once at least, and again after each `pause` (seconds). Raises an AssertionError that says `what` was
    waited for and what was seen last, where `within` seconds were not enough.
    """
    deadline = time.monotonic() + within
    while not holds(seen := look()):
        assert time.monotonic() < deadline, f"in {within:g} s it did not come about that {what}; seen last: {seen!r}"
        time.sleep(pause)
    return seen
