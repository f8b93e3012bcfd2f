"""How often: requests counted by subject and window of time, in whichever store is at hand.

The seam counts each write in the store that the operation commits to (see `docs/decisions.md`): one statement, and when
that store is away the operation could not go on either. Windows are fixed: a minute of the clock, not the last sixty
seconds, so that a count is one number that goes up.
"""

import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from itlc.errors import StoreAway, TooMany

MINUTE, HOUR = 60, 3600
CLOCKS_APART = timedelta(minutes=1)
"""How long a window is kept after its end, for workers whose clocks are behind."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """A stretch of the clock; `end` is in Unix seconds."""

    end: int

    @classmethod
    def now(cls, seconds: int) -> "Window":
        """The window of so many seconds in which this moment lies."""
        return cls((int(time.time()) // seconds + 1) * seconds)

    @property
    def ends_at(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.end, UTC)

    @property
    def seconds_left(self) -> int:
        """Whole seconds until it ends, at least one."""
        return max(1, math.ceil(self.end - time.time()))


class Counter(Protocol):
    """A store that can count."""

    def count_request(self, subject: str, window: Window) -> int:
        """Count one more request of `subject` in `window`; returns how many it has made in it. Raises StoreAway."""


def check(counter: Counter, subject: str, most: int) -> None:
    """Count a write of `subject`. Raises TooMany when it has made more than `most` in this minute, and StoreAway.

    A count that fails otherwise lets the request pass: a limit must not take the operation with it.
    """
    window = Window.now(MINUTE)
    try:
        made = counter.count_request(subject, window)
    except StoreAway:
        raise
    except Exception:
        log.exception("a request was not counted")
        return
    if made > most:
        raise TooMany(f"At most {most:,} writes a minute are taken from one caller.", window.seconds_left)
