"""The stores as one reconciliation reads them.

Each PostgreSQL database is one read-only snapshot, taken when the reconciliation begins; those that say that something
is done before those where it was done. So whatever the first says is done is in the second, if it was done at all; only
what the second has and the first does not know yet may be on its way. MongoDB and the graph, which have no snapshots
here, are read after those.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Result, Row, func, select, text
from sqlalchemy.exc import DBAPIError

from itlc.errors import StoreAway
from itlc.operation import Deadline
from itlc.stores import mongo, postgres
from itlc.system.findings import NotChecked

T = TypeVar("T")
NO_TIME = "there was no time left for it"
LEAST_MILLISECONDS = 100
CHUNK = 1_000
CLOCKS_APART = timedelta(seconds=5)
"""What the clocks of two servers may be apart."""
# An order is paid after its tokens moved, a top-up is completed after it was credited: the ledger comes last.
LEDGER_LAST = (postgres.orders, postgres.tokens, postgres.catalog, postgres.templates, postgres.users)


class Snapshot:
    """One PostgreSQL database as it was when the reconciliation began.

    `unseen_since`: what another database began before that moment has its cause in this snapshot, if it has one at all.
    """

    unseen_since: datetime

    def __init__(self, database: postgres.Database, connection: Connection, deadline: Deadline) -> None:
        self._database, self._connection, self._deadline = database, connection, deadline
        self._being_read: set[Result[Any]] = set()

    def number(self, sql: str, **values: Any) -> int:
        """The one number that a query returns. Raises StoreAway, NotChecked when the time is up."""
        (row,) = self.rows(sql, **values)
        return int(row[0] or 0)

    def mark(self) -> None:
        """Note where `start_over` goes back to; as this is the first query, it takes the snapshot, too, and asks the
        server when that was."""
        taken_at: datetime = self._connection.exec_driver_sql("SELECT statement_timestamp()").scalar_one()
        self.unseen_since = taken_at - CLOCKS_APART
        self._connection.exec_driver_sql("SAVEPOINT unread")

    def start_over(self) -> None:
        """Forget what was begun: cursors that were left open, a query that failed. The snapshot stays."""
        for found in self._being_read:  # at once: to close one later, which is gone by then, would fail the next query
            with suppress(DBAPIError):
                found.close()
        self._being_read.clear()
        with suppress(DBAPIError):  # one that is gone says so to the next who asks
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT unread")

    def rows(self, sql: str, **values: Any) -> Iterator[Row[Any]]:
        """The rows of a query, a thousand at a time from a cursor on the server; several may be read side by side.

        Raises StoreAway, NotChecked when the time is up.
        """
        streamed = {"stream_results": True, "yield_per": CHUNK}
        try:
            self._connection.execute(select(func.set_config("statement_timeout", str(self._milliseconds_left()), True)))
            with self._connection.execute(text(sql), values, execution_options=streamed) as found:
                self._being_read.add(found)
                for number, row in enumerate(found):
                    if number % CHUNK == 0 and self._deadline.passed:
                        raise NotChecked(NO_TIME)
                    yield row
                self._being_read.discard(found)
        except DBAPIError as error:
            if postgres.sqlstate(error) == postgres.QUERY_CANCELED:
                raise NotChecked(NO_TIME if self._deadline.passed else "one of its queries took too long") from error
            if postgres.is_away(error):
                raise StoreAway(self._database.name) from error
            raise

    def _milliseconds_left(self) -> int:
        """For how long the server may be at one statement: for as long as there is time, and a query may take."""
        seconds = min(self._deadline.seconds_left, postgres.LONGEST_READ_SECONDS)
        return max(LEAST_MILLISECONDS, math.ceil(seconds * 1000))


class Snapshots:
    """The five PostgreSQL databases, for the time of one reconciliation (`with Snapshots(deadline) as stores`)."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._held = ExitStack()
        self._open: dict[str, Snapshot] = {}
        self._opened_at: datetime | None = None

    def __enter__(self) -> "Snapshots":
        with suppress(StoreAway), mongo.projects.read():
            self._opened_at = mongo.now()
        for database in LEDGER_LAST:
            try:
                self._take(database)
            except StoreAway:
                continue  # `of` says so to every check that needs it
        return self

    def _take(self, database: postgres.Database) -> None:
        snapshot = Snapshot(database, self._held.enter_context(database.snapshot()), self.deadline)
        snapshot.mark()
        self._open[database.name] = snapshot

    def __exit__(self, *_: object) -> None:
        with suppress(StoreAway, DBAPIError):  # one that went away in between; the checks have said so
            self._held.close()

    def of(self, database: postgres.Database) -> Snapshot:
        """The snapshot of a database. Raises StoreAway when it is away, or went away meanwhile."""
        snapshot = self._open.get(database.name)
        if snapshot is None:
            raise StoreAway(database.name)
        return snapshot

    @property
    def documents_unseen_since(self) -> datetime:
        """What MongoDB holds was there before the first snapshot was taken, unless it was changed since that moment: by
        MongoDB's clock, to which both who writes and who asks may be near only. Raises StoreAway when it is away, or
        was when the snapshots were taken."""
        if self._opened_at is None:
            raise StoreAway(mongo.NAME)
        return self._opened_at - 2 * mongo.AGREEING

    def in_time(self, rows: Iterable[T]) -> Iterator[T]:
        """The rows of a store that has no snapshot, one by one. Raises NotChecked when the time is up."""
        for row in rows:
            if self.deadline.passed:
                raise NotChecked(NO_TIME)
            yield row

    def start_over(self) -> None:
        """After a check that was broken off, make the snapshots ready for the next one."""
        for snapshot in self._open.values():
            snapshot.start_over()

    def lose(self, name: str) -> None:
        """Read no more of a database that went away: its transaction is over."""
        self._open.pop(name, None)
