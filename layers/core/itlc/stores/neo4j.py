"""The Neo4j graph of orders and their steps: one cached driver, whole transactions, retried by the driver.

No queries on the domain's nodes here: they are in `itlc/plans/repository.py`. What every store keeps for itself
is kept here as nodes: `:Outbox`, `:SentEvent`, `:IdempotencyKey` and `:RequestCount`.
"""

import json
import random
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar

from neo4j import Driver, GraphDatabase, ManagedTransaction, Record, unit_of_work
from neo4j.exceptions import (
    ClientError,
    DatabaseError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)
from neo4j.time import Duration

from itlc import events
from itlc.errors import StillRunning, StoreAway
from itlc.idempotency import Answer, Key
from itlc.limits import CLOCKS_APART, Window
from itlc.secrets import secret
from itlc.settings import settings
from itlc.stores.circuit import ANSWER_SECONDS, CONNECT_SECONDS, Circuit, circuit

T = TypeVar("T")

LOCK_TIMED_OUT = "Neo.TransientError.Transaction.LockAcquisitionTimeout"
TIMED_OUT = "Neo.ClientError.Transaction.TransactionTimedOut"
"""How the codes begin of a transaction that took longer than it may, which Neo4j takes for the client's mistake."""
TRIES = 6
LAST_TRY_AFTER = 4.0
"""Seconds after its begin at which a piece of work is not begun anew, so that all of it ends in time."""


class Graph:
    """The graph."""

    name = "Neo4j"

    @cached_property
    def driver(self) -> Driver:
        """The driver, over a small pool with short timeouts (seconds). It repeats nothing by itself: `_run` does."""
        at = secret("neo4j")
        driver = GraphDatabase.driver(
            at["uri"],
            auth=(at["user"], at["password"]),
            max_connection_pool_size=4,
            connection_timeout=CONNECT_SECONDS,
            connection_acquisition_timeout=CONNECT_SECONDS + 1,
            connection_write_timeout=CONNECT_SECONDS,
            max_transaction_retry_time=0,
            liveness_check_timeout=settings().circuit_seconds,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )
        _bound_answers(driver)
        return driver

    @cached_property
    def circuit(self) -> Circuit:
        """The circuit of the graph's server."""
        return circuit(secret("neo4j")["uri"], is_down)

    def ping(self) -> None:
        """Ask the least that proves that the graph answers, whether its circuit is open or not. Raises StoreAway."""
        self._run(lambda transaction: transaction.one("RETURN 1 AS one"), writing=False, probe=True)

    def read(self, work: "Callable[[GraphTransaction], T]") -> T:
        """Run `work` in a read transaction. Raises StoreAway when the graph cannot be reached."""
        return self._run(work, writing=False)

    def locked_read(self, work: "Callable[[GraphTransaction], T]") -> T:
        """Run `work`, which locks what it reads, in a transaction that may do so. Raises StoreAway.

        Neo4j has no snapshots: what reads several nodes without a lock can see half of another's commit.
        """
        return self._run(work, writing=True)

    def write(self, work: "Callable[[GraphTransaction], T]") -> T:
        """Run `work` in one write transaction and commit it; all of it runs again after a deadlock, or once after a
        connection that turns out dead before the commit.

        Events that `work` emitted are sent after the commit. Raises StoreAway when the graph cannot be reached.
        """
        return self._run(work, writing=True)

    def count_request(self, subject: str, window: Window) -> int:
        """See `itlc.limits.Counter`."""

        def count(transaction: GraphTransaction) -> int:
            counted = transaction.one(
                "MERGE (c:RequestCount {id: $id}) "
                "ON CREATE SET c.count = 0, c.window_end = datetime({epochSeconds: $end}) "
                "SET c.count = c.count + 1 RETURN c.count AS count",
                id=f"{subject} {window.end}",
                end=window.end,
            )
            return int(counted["count"]) if counted else 0

        return self.write(count)

    def earlier_answer(self, key: Key) -> Answer | None:
        """See `itlc.idempotency.Store`."""
        return self.read(lambda transaction: keys.find(transaction, key))

    def claim(self, handle: "GraphTransaction", key: Key, answer: Callable[[object], Answer]) -> Answer | None:
        """See `itlc.idempotency.Store`."""
        return keys.claim(handle, key)

    def keep(self, handle: "GraphTransaction", key: Key, answer: Answer) -> None:
        """See `itlc.idempotency.Store`."""
        keys.keep(handle, key, answer)

    def keep_refusal(self, key: Key, answer: Answer) -> None:
        """See `itlc.idempotency.Store`."""

        def keep(transaction: GraphTransaction) -> None:
            if keys.claim(transaction, key) is None:
                keys.keep(transaction, key, answer)

        self.write(keep)

    def _run(self, work: "Callable[[GraphTransaction], T]", *, writing: bool, probe: bool = False) -> T:
        try:
            with self.circuit.guard(self.name, probe=probe):
                result, emitted = self._commit(work, writing=writing)
        except (TransientError, DatabaseError, DriverError) as error:  # of these, the last is that it is not reached
            raise StoreAway(self.name) from error
        except ClientError as error:
            if error.code and error.code.startswith(TIMED_OUT):
                raise StoreAway(self.name) from error
            raise
        events.send_now(emitted, self._mark_published)
        return result

    def _commit(self, work: "Callable[[GraphTransaction], T]", *, writing: bool) -> tuple[T, list[events.Event]]:
        """What `work` returned, and the events that it emitted, in the transaction that could be committed at last."""
        emitted: list[events.Event] = []

        @unit_of_work(timeout=5)
        def in_transaction(managed: ManagedTransaction) -> T:
            transaction = GraphTransaction(managed)
            result = work(transaction)
            emitted[:] = transaction.emitted
            return result

        began, replaced = time.monotonic(), False
        for attempt in range(1, TRIES + 1):
            try:
                with self.driver.session(database=secret("neo4j").get("database", "neo4j")) as session:
                    run = session.execute_write if writing else session.execute_read
                    return run(in_transaction), emitted
            except (DriverError, Neo4jError) as error:
                dead = isinstance(error, ServiceUnavailable | SessionExpired)
                late = attempt == TRIES or time.monotonic() - began > LAST_TRY_AFTER
                if late or (dead and replaced) or not error.is_retryable():
                    raise
                replaced = replaced or dead
                if not dead:  # capped and jittered: those who clashed should not meet again
                    time.sleep(random.uniform(0, min(0.5, 0.02 * 2**attempt)))  # noqa: S311
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _mark_published(self, ids: set[str]) -> None:
        self.write(lambda transaction: mark_published(transaction, ids))


def _bound_answers(driver: Driver) -> None:
    """Have the driver's connections wait for an answer no longer than for one that the server could still give.

    The driver leaves that to the server's `connection.recv_timeout_seconds`, two minutes by default, and has no setting
    of its own."""
    pool: Any = driver._pool
    opener = pool.opener

    def opened(*arguments: Any) -> Any:
        connection = opener(*arguments)
        connection.socket.set_read_timeout(ANSWER_SECONDS)
        return connection

    pool.opener = opened


def is_down(error: Exception) -> bool:
    """Whether the graph's server cannot be reached or does not answer."""
    return isinstance(error, ServiceUnavailable | SessionExpired)


class GraphTransaction:
    """One transaction: Cypher with parameters, and the events that it emits."""

    def __init__(self, managed: ManagedTransaction) -> None:
        self._managed = managed
        self.emitted: list[events.Event] = []

    def run(self, cypher: str, **parameters: Any) -> list[Record]:
        """The records that a query returns. Values go in as parameters only."""
        return list(self._managed.run(cypher, **parameters))

    def one(self, cypher: str, **parameters: Any) -> Record | None:
        """The single record that a query returns, or None."""
        records = self.run(cypher, **parameters)
        return records[0] if records else None

    def emit(self, event: events.Event) -> None:
        """Write an event beside its cause, as an `:Outbox` node of the same transaction."""
        fields = asdict(event)
        user_ids, emails = event.addressees
        self.run(
            "CREATE (:Outbox {id: $id, event: $event, user_ids: $user_ids, emails: $emails, created_at: datetime(), "
            "claimed_until: datetime() + duration({seconds: $claim})})",
            id=fields.pop("id"),
            event=json.dumps(fields, separators=(",", ":")),
            user_ids=user_ids,
            emails=emails,
            claim=int(events.CLAIM.total_seconds()),
        )
        self.emitted.append(event)


class GraphKeys:
    """Idempotency keys as nodes. The unique constraint on `identity` makes a second request wait for the first, and
    then give its answer."""

    def claim(self, handle: GraphTransaction, key: Key) -> Answer | None:
        """Lock the key for this transaction and look for its answer; None when there is none yet.

        Raises StillRunning when the first request does not end within the lock's timeout (5 s), KeyReused when the
        key was used otherwise."""
        try:
            handle.run(
                "MERGE (k:IdempotencyKey {identity: $identity}) SET k._lock = timestamp()", identity=key.identity
            )
        except TransientError as error:
            if error.code == LOCK_TIMED_OUT:
                raise StillRunning("The first request with this Idempotency-Key is still running.") from error
            raise
        return self.find(handle, key)

    def find(self, handle: GraphTransaction, key: Key) -> Answer | None:
        """The answer kept under the key, if there is one that has not expired. Takes no lock."""
        found = handle.one(
            "MATCH (k:IdempotencyKey {identity: $identity}) WHERE k.expires_at > datetime() "
            "RETURN k.fingerprint AS fingerprint, k.answer AS answer",
            identity=key.identity,
        )
        if found is None:
            return None
        key.check(found["fingerprint"])
        return Answer(**json.loads(found["answer"]))

    def keep(self, handle: GraphTransaction, key: Key, answer: Answer) -> None:
        """Store the answer in the transaction of the effect."""
        handle.run(
            "MERGE (k:IdempotencyKey {identity: $identity}) SET k.fingerprint = $fingerprint, k.answer = $answer, "
            "k.expires_at = datetime() + duration({hours: $hours})",
            identity=key.identity,
            fingerprint=key.fingerprint,
            answer=json.dumps(asdict(answer)),
            hours=settings().idempotency_hours,
        )


def mark_published(transaction: GraphTransaction, ids: set[str]) -> None:
    """Note that these events were sent: they become `:SentEvent` nodes."""
    transaction.run(
        "UNWIND $ids AS id MATCH (o:Outbox {id: id}) SET o:SentEvent, o.published_at = datetime() "
        "REMOVE o:Outbox, o.claimed_until",
        ids=sorted(ids),
    )


def sent_ids(transaction: GraphTransaction, after: str, since: timedelta, until: timedelta, limit: int) -> list[str]:
    """The next `limit` ids, in their order, of events that were sent between so long ago and so long ago."""
    records = transaction.run(
        "MATCH (e:SentEvent) WHERE e.id > $after AND datetime() - $since < e.published_at < datetime() - $until "
        "RETURN e.id AS id ORDER BY e.id LIMIT $limit",
        after=after,
        since=Duration(seconds=since.total_seconds()),
        until=Duration(seconds=until.total_seconds()),
        limit=limit,
    )
    return [record["id"] for record in records]


def sent_texts(transaction: GraphTransaction, after: str, limit: int) -> list[tuple[str, str]]:
    """The next `limit` events that were sent and are still kept, in the order of their ids: each its id, and the JSON
    text of the rest."""
    records = transaction.run(
        "MATCH (e:SentEvent) WHERE e.id > $after RETURN e.id AS id, e.event AS event ORDER BY e.id LIMIT $limit",
        after=after,
        limit=limit,
    )
    return [(record["id"], record["event"]) for record in records]


def sent_among(transaction: GraphTransaction, ids: Collection[str]) -> list[tuple[str, str]]:
    """Those of these events that were sent and are still kept: each its id, and the JSON text of the rest."""
    records = transaction.run(
        "UNWIND $ids AS id MATCH (e:SentEvent {id: id}) RETURN e.id AS id, e.event AS event", ids=list(ids)
    )
    return [(record["id"], record["event"]) for record in records]


Place = tuple[str, str]
"""Where an event that was sent stands among the others: when it was sent, as Neo4j writes it (the driver's own times
come back in another zone, and so are later or earlier than themselves), and its id."""
BEFORE_ALL: Place = ("1970-01-01T00:00:00Z", "")
FORGET_NOTICES_OF_PAGE = (
    "WITH datetime($at) AS at MATCH (e:SentEvent) "
    "WHERE e.published_at >= at AND (e.published_at > at OR e.id > $id) "
    "WITH e ORDER BY e.published_at, e.id LIMIT $limit WITH collect(e) AS page "
    "WITH page, toString(page[-1].published_at) AS at, page[-1].id AS id "
    "FOREACH (e IN [e IN page WHERE $user_id IN e.user_ids OR any(email IN e.emails WHERE email IN $emails)] "
    "| DELETE e) RETURN at, id"
)


def forget_notices(
    transaction: GraphTransaction, user_id: int, emails: Collection[str], after: Place, limit: int
) -> Place | None:
    """Of the next `limit` sent events after that one (BEFORE_ALL for the first), remove those that told a user, or one
    of these addresses, something; returns the last that was looked at, None when there was none."""
    looked_at = transaction.one(
        FORGET_NOTICES_OF_PAGE,
        user_id=user_id,
        emails=[email.lower() for email in emails],
        at=after[0],
        id=after[1],
        limit=limit,
    )
    return None if looked_at is None or looked_at["id"] is None else (looked_at["at"], looked_at["id"])


def purge_sent(transaction: GraphTransaction, older_than: timedelta, limit: int) -> int:
    """Remove up to `limit` events that were sent longer ago than that; returns how many."""
    gone = transaction.one(
        "MATCH (e:SentEvent) WHERE e.published_at < datetime() - $older_than "
        "WITH e LIMIT $limit DELETE e RETURN count(*) AS gone",
        older_than=Duration(seconds=older_than.total_seconds()),
        limit=limit,
    )
    return int(gone["gone"]) if gone else 0


def claim(transaction: GraphTransaction, limit: int = 100) -> list[events.Event]:
    """Take up to `limit` waiting events for half a minute, oldest first. The lock comes before the look at the claim,
    for Neo4j does not check a predicate again once it has the lock."""
    records = transaction.run(
        "MATCH (o:Outbox) WHERE o.claimed_until < datetime() WITH o ORDER BY o.created_at LIMIT $limit "
        "SET o._lock = timestamp() WITH o WHERE o.claimed_until < datetime() "
        "SET o.claimed_until = datetime() + duration({seconds: $claim}) RETURN o.id AS id, o.event AS event",
        limit=limit,
        claim=int(events.CLAIM.total_seconds()),
    )
    waiting = (events.waiting_event(record["id"], record["event"]) for record in records)
    return [event for event in waiting if event is not None]


def forget_keys(transaction: GraphTransaction, caller: str) -> None:
    """Remove all keys of a caller (`user:12`), with the answers kept under them."""
    transaction.run(
        "MATCH (k:IdempotencyKey) WHERE k.identity STARTS WITH $begin DELETE k", begin=f"[{json.dumps(caller)}, "
    )


def purge_keys(transaction: GraphTransaction, limit: int) -> int:
    """Remove up to `limit` idempotency keys whose time is over; returns how many."""
    gone = transaction.one(
        "MATCH (k:IdempotencyKey) WHERE k.expires_at < datetime() WITH k LIMIT $limit DELETE k RETURN count(*) AS gone",
        limit=limit,
    )
    return int(gone["gone"]) if gone else 0


def purge_counts(transaction: GraphTransaction, limit: int) -> int:
    """Remove up to `limit` counts of requests in windows that are over; returns how many."""
    gone = transaction.one(
        "MATCH (c:RequestCount) WHERE c.window_end < datetime() - duration({seconds: $late}) "
        "WITH c LIMIT $limit DELETE c RETURN count(*) AS gone",
        late=int(CLOCKS_APART.total_seconds()),
        limit=limit,
    )
    return int(gone["gone"]) if gone else 0


keys = GraphKeys()
graph = Graph()
