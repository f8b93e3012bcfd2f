"""What a worker remembers of a store that did not answer: for a few seconds it is not asked again.

Who waits for a store that is down waits for its timeout; who comes after them need not. So the failure to reach a store
opens its circuit, and while that is open whoever needs the store is told at once to come back. The first to come
afterwards tries for all, and finds a connection that is made anew within three seconds, or is not.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from itlc.errors import StoreAway
from itlc.settings import settings

CONNECT_SECONDS = 3
"""How long it may take to reach a store."""
ANSWER_SECONDS = 6
"""How long a store may take to answer: a second more than it lets any statement run. Less than a function may run."""

log = logging.getLogger(__name__)


class Circuit:
    """The way to one server. `is_down` tells the failures that mean that it is down from all the others."""

    def __init__(self, is_down: Callable[[Exception], bool]) -> None:
        self._is_down = is_down
        self._open_until = 0.0

    @contextmanager
    def guard(self, store: str, *, probe: bool = False) -> Iterator[bool]:
        """Do something that needs the server, on behalf of the `store` that lives there. Gives whether the server was
        down when it was last asked.

        Raises StoreAway at once while the circuit is open, unless this is a `probe`: one that wants to know for itself.
        """
        if not probe:
            self.check(store)
        try:
            yield self._open_until > 0
        except Exception as error:
            self.note(error)
            raise
        self._open_until = 0.0

    def check(self, store: str) -> None:
        """Raise StoreAway, with the seconds to wait, while the circuit is open."""
        seconds_left = self._open_until - time.monotonic()
        if seconds_left > 0:
            raise StoreAway(store, math.ceil(seconds_left))

    def note(self, error: Exception) -> None:
        """Open the circuit where the error means that the server is down."""
        if self._is_down(error):
            log.warning("a server does not answer: it is not asked again for a while", exc_info=error)
            self._open_until = time.monotonic() + settings().circuit_seconds


@cache
def circuit(address: str, is_down: Callable[[Exception], bool]) -> Circuit:
    """The one circuit of this worker to the server at `address`: the databases of one server share it, for what one of
    them has found out is true of the others."""
    return Circuit(is_down)
