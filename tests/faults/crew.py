"""Workers that are warm: processes of their own, as Lambda's workers are, with their connections open already.

Who races with cold workers races their log-ins: a second of work for each of them, after which the fastest is done
before the slowest begins.
"""

import multiprocessing
import traceback
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import Any

from tests.support.racing import become_a_worker

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Crew:
    """So many workers, forked when it is made: whatever they are to call must be importable (a lambda is not). A call
    may take so many seconds of `patience`.

    with Crew(20) as crew:
        answers = crew.at_once([(pay, (ada, order_id, str(number))) for number in range(20)])
    """

    def __init__(self, size: int, *, patience: float = 60.0) -> None:
        self.size, self.patience = size, patience
        context = multiprocessing.get_context("fork")
        start = context.Barrier(size)
        self._lines: list[Connection] = []
        self._processes = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            # Of the parent's ends none may stay open in a worker, or nobody would see the others' end.
            process = context.Process(target=_work, args=(theirs, [*self._lines, ours], start), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)

    def at_once(self, calls: Sequence[Call]) -> list[Any]:
        """The results of the calls, each made by a worker of its own, all begun at the same moment.

        Raises AssertionError with the traceback of a call that raised, for one that does not end, and for more calls
        than workers.
        """
        assert len(calls) <= self.size, f"{len(calls)} calls for {self.size} workers"
        for number, line in enumerate(self._lines):
            line.send(calls[number] if number < len(calls) else None)
        answers = []
        for line in self._lines:
            assert line.poll(self.patience), f"a call has not ended after {self.patience:g} s"
            answers.append(line.recv())
        for failed in answers:
            if isinstance(failed, AssertionError):
                raise failed
        return [answer[0] for answer in answers[: len(calls)]]

    def same(self, call: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """The results of `call(*a)` for each of `arguments`."""
        return self.at_once([(call, one) for one in arguments])

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for line in self._lines:
            line.close()  # which each worker takes for the end
        for process in self._processes:
            if error is not None:
                process.kill()  # it may be in the midst of a call, and nobody waits for the answer
            process.join()


def _work(line: Connection, parents: Iterable[Connection], start: Barrier) -> None:
    for other in parents:
        other.close()
    become_a_worker()
    _warm_up()
    while True:
        try:
            asked: Call | None = line.recv()
        except EOFError:
            return
        start.wait(60)
        answer: Any = (None,)
        if asked is not None:
            call, arguments = asked
            try:
                answer = (call(*arguments),)
            except Exception as error:
                # Its text only: not every error can be sent, and fewer can be received.
                answer = AssertionError(f"{call.__name__} raised:\n{''.join(traceback.format_exception(error))}")
        line.send(answer)


def _warm_up() -> None:
    from itlc.aws import client
    from itlc.stores import postgres

    client("sqs")
    for database in (postgres.users, postgres.orders, postgres.tokens, postgres.catalog):
        with database.read() as db:
            db.exec_driver_sql("SELECT 1")
