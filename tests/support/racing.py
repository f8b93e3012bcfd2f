"""Many calls at once, each in a process of its own, as Lambda's workers are.

An operation serves one call at a time, over one connection for each store; so threads would only wait for each other.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

T = TypeVar("T")

_start: Barrier | None = None


def become_a_worker() -> None:
    """Forget the clients that came along from the parent process: each worker has its own."""
    from itlc import aws
    from itlc.stores import mongo, neo4j, postgres

    for database in postgres.DATABASES:
        for name in ("engine", "snapshot_engine"):
            engine = database.__dict__.pop(name, None)
            if engine is not None:
                engine.dispose(close=False)
    mongo.database.cache_clear()
    neo4j.graph.__dict__.pop("driver", None)
    aws.client.cache_clear()


def _begin(barrier: Barrier) -> None:
    global _start
    become_a_worker()
    _start = barrier


def _run(number: int, call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    assert _start is not None, "runs in a worker only"
    _start.wait(timeout=30)
    return call(*arguments)


def at_once(call: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """The results of `call(*a)` for each of `arguments`, all begun at the same moment, in processes of their own.

    `call` and what it takes and returns must be importable or picklable: `As.call` is, a lambda is not.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(arguments))
    with ProcessPoolExecutor(len(arguments), mp_context=context, initializer=_begin, initargs=(barrier,)) as pool:
        waiting = [pool.submit(_run, number, call, one) for number, one in enumerate(arguments)]
        return [result.result(timeout=60) for result in waiting]


def workers() -> int:
    """How many at once is a fair race here: four for each core, at least eight."""
    return max(8, 4 * (os.cpu_count() or 1))
