"""What has had its time goes: idempotency keys, sent events and the record of received ones, sessions, resets, and
counts of requests and failures."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from itlc import telemetry
from itlc.accounts import expiry
from itlc.operation import Deadline
from itlc.stores import inbox, keys, mongo, neo4j, outbox, postgres, request_counts

BATCH = 1000
# A dead letter is kept for 14 days, and once it is moved back, its queue keeps it for 14 days more: none can come again
# once it is forgotten. What was sent is kept as long as reconciliation looks for it.
SENT_KEPT, RECEIVED_KEPT = timedelta(days=15), timedelta(days=30)

Step = Callable[[], int]
"""Removes one bounded batch, and returns how many went."""


def purge(deadline: Deadline) -> dict[str, int]:
    """Remove what is spent, in batches, until nothing is left or the time is up; it goes on the next time.

    Returns how many idempotency `keys`, `events`, `sessions` (with refresh tokens, password resets, failed sign-ins and
    known addresses) and `counts` of requests went, and the number of kinds that could not be purged (`failed`), which
    are named in the log.
    """
    steps: list[tuple[str, str, Step]] = []
    for database in postgres.DATABASES:
        steps += [
            ("keys", database.name, _in(database, keys.purge)),
            ("events", f"{database.name}.outbox", _in(database, _sent)),
            ("events", f"{database.name}.inbox", _in(database, _received)),
            ("counts", database.name, _in(database, request_counts.purge)),
        ]
    steps.append(("events", "itlc_pbfr.sent_events", lambda: mongo.purge_sent(SENT_KEPT, BATCH)))
    steps.append(
        ("events", "neo4j", lambda: neo4j.graph.write(lambda graph: neo4j.purge_sent(graph, SENT_KEPT, BATCH)))
    )
    for purge_accounts in expiry.PURGES:
        steps.append(("sessions", "itlc_users", _in(postgres.users, purge_accounts)))
    steps += [("keys", f"itlc_pbfr.{store.collection}", partial(_mongo_keys, store)) for store in mongo.STORES]
    steps.append(("keys", "neo4j", lambda: neo4j.graph.write(lambda graph: neo4j.purge_keys(graph, BATCH))))
    steps.append(("counts", "itlc_pbfr", lambda: mongo.purge_counts(BATCH)))
    steps.append(("counts", "neo4j", lambda: neo4j.graph.write(lambda graph: neo4j.purge_counts(graph, BATCH))))

    counts = {"keys": 0, "events": 0, "sessions": 0, "counts": 0, "failed": 0}
    for kind, where, step in steps:
        try:
            while not deadline.passed:
                gone = step()
                counts[kind] += gone
                if gone < BATCH:
                    break
        except Exception:
            telemetry.logger("purge_expired").exception("not purged", extra={"kind": kind, "where": where})
            counts["failed"] += 1
    return counts


def _in(database: postgres.Database, remove: Callable[[Connection, int], int]) -> Step:
    return lambda: database.write(lambda connection: remove(connection, BATCH))


def _sent(connection: Connection, limit: int) -> int:
    return outbox.purge(connection, SENT_KEPT, limit)


def _received(connection: Connection, limit: int) -> int:
    return inbox.purge(connection, RECEIVED_KEPT, limit)


def _mongo_keys(store: mongo.DocumentStore) -> int:
    with store.read() as documents:
        return mongo.purge_keys(documents, BATCH)
