"""A worker whose clock is wrong."""

import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from tests.faults.outage import Ask, start_anew
from tests.support.calling import Response, run_scheduled

TOLD_THE_TIME = ("itlc", "functions", "jwt", "tests")
"""The packages whose modules ask for the time by `datetime.now`; the others' time is their own affair."""


def set_clock(seconds: float) -> None:
    """Put this process's clock forward, for good; back, with a negative number of seconds. What only measures how long
    something takes goes on as before, as it does when a clock is set."""
    right = time.time

    class AnyDatetime(type):
        def __instancecheck__(cls, one: object) -> bool:
            return isinstance(one, datetime)

    class Wrong(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=seconds)

    time.time = lambda: right() + seconds
    for name, module in list(sys.modules.items()):
        told = name.partition(".")[0] in TOLD_THE_TIME
        if told and getattr(module, "datetime", None) is datetime and name != __name__:
            module.datetime = Wrong  # type: ignore[attr-defined]


def _begin_under(seconds: float) -> None:
    set_clock(seconds)
    start_anew()


def ask_under(seconds: float, asks: Sequence[Ask]) -> list[Response]:
    """Serve requests by a clock that is wrong by so many seconds."""
    _begin_under(seconds)
    return [ask.send().response for ask in asks]


def run_under(seconds: float, jobs: Sequence[str]) -> list[dict[str, int]]:
    """Run scheduled jobs by a clock that is wrong by so many seconds."""
    _begin_under(seconds)
    return [run_scheduled(job) for job in jobs]
