"""Where a process may die: between any two effects of a piece of work.

An effect is what stays when the process is gone: a commit of PostgreSQL or Neo4j, a statement that commits by itself, a
changed document, a message sent or taken out of its queue, a mail. Each is found by watching the drivers at work, not
by marks in the code, so no path has a boundary that is missing here: who adds an effect adds a point.
"""

import os
import pickle
import re
from collections.abc import Callable
from typing import Any

import botocore.client
import pymongo.monitoring
from neo4j import ManagedTransaction
from sqlalchemy import Connection, Engine
from sqlalchemy import event as on

from tests.support.racing import become_a_worker

DIED = 86
"""The exit code of a process that died where it was told to."""

CHANGE = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")
CALLS = {"SendMessage", "SendMessageBatch", "DeleteMessage", "SendEmail"}
COMMANDS = {"insert": "insert", "update": "update", "delete": "delete", "findAndModify": "change"}
UNCOUNTED = "request_counts"
"""Nothing follows from these counts, so they are no effects."""


class Boundaries:
    """Counts the effects of this process, and ends it before the one whose number is `last`, if that is given."""

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.passed: list[str] = []
        self._changed: dict[int, set[str]] = {}

    def reach(self, effect: str) -> None:
        """The boundary before `effect`."""
        if len(self.passed) == self.last:
            os._exit(DIED)
        self.passed.append(effect)

    def watch(self) -> None:
        """Watch the drivers of this process, whose clients are still to be made."""
        on.listen(Engine, "before_cursor_execute", self._statement)
        on.listen(Engine, "commit", self._commit)
        pymongo.monitoring.register(_Commands(self.reach))
        self._watch_graph()
        self._watch_aws()

    def _statement(self, connection: Connection, _: Any, statement: str, *rest: Any) -> None:
        change = CHANGE.match(statement)
        if change is None or change[1] == UNCOUNTED:
            return
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            self.reach(f"{statement.split()[0].lower()} {_database(connection)}.{change[1]}")
        else:
            self._changed.setdefault(id(connection), set()).add(change[1])

    def _commit(self, connection: Connection) -> None:
        changed = self._changed.pop(id(connection), None)
        if changed:
            self.reach(f"commit {_database(connection)} ({', '.join(sorted(changed))})")

    def _watch_graph(self) -> None:
        commit = ManagedTransaction._commit

        def watched(transaction: ManagedTransaction) -> Any:
            self.reach("commit neo4j")
            return commit(transaction)

        ManagedTransaction._commit = watched  # type: ignore[assignment, method-assign]

    def _watch_aws(self) -> None:
        call = botocore.client.BaseClient._make_api_call

        def watched(client: Any, name: str, arguments: dict[str, Any]) -> Any:
            if name in CALLS:
                self.reach(f"{name} {arguments.get('QueueUrl', '').rpartition('test-')[2]}".strip())
            return call(client, name, arguments)

        botocore.client.BaseClient._make_api_call = watched


def _database(connection: Connection) -> str:
    return str(connection.engine.url.database)


class _Commands(pymongo.monitoring.CommandListener):
    """Tells of each command that changes a document."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        self.reach = reach

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        collection = event.command.get(event.command_name)
        if event.command_name in COMMANDS and collection != UNCOUNTED:
            self.reach(f"{COMMANDS[event.command_name]} itlc_pbfr.{collection}")

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """Nothing: the next boundary is the same place."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """Nothing: no effect."""


def effects_of(work: Callable[[], object]) -> list[str]:
    """Do `work` in a process of its own; returns the names of its effects, in their order."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        told: object = "it did not end"
        try:
            told = _watched(work)
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        finally:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(told, pipe)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pickle.load(pipe)  # noqa: S301 # our own
    os.waitpid(child, 0)
    assert isinstance(told, list), told
    return told


def die_before(point: int, work: Callable[[], object]) -> None:
    """Do `work` in a process of its own that dies before the effect of that number (from 0); where there are no more
    effects than that, it dies after the last one, when nobody has been told of its success. Asserts that it died so."""
    child = os.fork()
    if child == 0:
        try:
            _watched(work, point)
            os._exit(DIED)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == DIED, f"the process did not die at point {point}"


def _watched(work: Callable[[], object], last: int | None = None) -> list[str]:
    become_a_worker()
    boundaries = Boundaries(last)
    boundaries.watch()
    work()
    return boundaries.passed
