"""The Neo4j graph of orders and their steps: one cached driver, whole transactions, retried by the driver.

No queries on the domain's nodes here: they are in `itlc/plans/repository.py`. What every store keeps for itself
is kept here as nodes: `:Outbox`, `:IdempotencyKey` and `:RequestCount`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import Any, TypeVar

from neo4j import Driver, GraphDatabase, ManagedTransaction, Record, unit_of_work
from neo4j.exceptions import ClientError, DriverError, ServiceUnavailable, SessionExpired, TransientError

from itlc import events
from itlc.errors import StillRunning, StoreAway
from itlc.idempotency import Answer, Key
from itlc.limits import CLOCKS_APART, Window
from itlc.secrets import secret
from itlc.settings import settings

T = TypeVar("T")

LOCK_TIMED_OUT = "Neo.TransientError.Transaction.LockAcquisitionTimeout"
TIMED_OUT = "Neo.ClientError.Transaction.TransactionTimedOut"
"""How the codes begin of a transaction that took longer than it may, which Neo4j takes for the client's mistake."""


class Graph:
    """The graph."""

    name = "Neo4j"

    @cached_property
    def driver(self) -> Driver:
        """The driver, over a small pool with short timeouts (seconds)."""
        at = secret("neo4j")
        return GraphDatabase.driver(
            at["uri"],
            auth=(at["user"], at["password"]),
            max_connection_pool_size=4,
            connection_timeout=3,
            connection_acquisition_timeout=5,
            max_transaction_retry_time=8,
            liveness_check_timeout=10,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )

    def read(self, work: "Callable[[GraphTransaction], T]") -> T:
        """Run `work` in a read transaction. Raises StoreAway when the graph cannot be reached."""
        return self._run(work, writing=False)

    def locked_read(self, work: "Callable[[GraphTransaction], T]") -> T:
        """Run `work`, which locks what it reads, in a transaction that may do so. Raises StoreAway.

        Neo4j has no snapshots: what reads several nodes without a lock can see half of another's commit.
        """
        return self._run(work, writing=True)

    def write(self, work: "Callable[[GraphTransaction], T]") -> T:
        """Run `work` in one write transaction and commit it; the driver runs all of it again after a deadlock.

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

    def _run(self, work: "Callable[[GraphTransaction], T]", *, writing: bool) -> T:
        emitted: list[events.Event] = []

        @unit_of_work(timeout=5)
        def in_transaction(managed: ManagedTransaction) -> T:
            transaction = GraphTransaction(managed)
            result = work(transaction)
            emitted[:] = transaction.emitted
            return result

        try:
            with self.driver.session(database=secret("neo4j").get("database", "neo4j")) as session:
                result = session.execute_write(in_transaction) if writing else session.execute_read(in_transaction)
        except (ServiceUnavailable, SessionExpired, TransientError, DriverError) as error:
            raise StoreAway(self.name) from error
        except ClientError as error:
            if error.code and error.code.startswith(TIMED_OUT):
                raise StoreAway(self.name) from error
            raise
        events.send_now(emitted, self._mark_published)
        return result

    def _mark_published(self, ids: set[str]) -> None:
        self.write(lambda transaction: mark_published(transaction, ids))


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
        self.run(
            "CREATE (:Outbox {id: $id, event: $event, created_at: datetime(), "
            "claimed_until: datetime() + duration({seconds: $claim})})",
            id=fields.pop("id"),
            event=json.dumps(fields, separators=(",", ":")),
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
    """Remove sent events from the graph."""
    transaction.run("UNWIND $ids AS id MATCH (o:Outbox {id: id}) DELETE o", ids=sorted(ids))


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
    return [events.Event(id=record["id"], **json.loads(record["event"])) for record in records]


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
