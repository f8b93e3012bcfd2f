"""The safety net under every commit: events that could not be sent at once are sent from the outboxes here.

Each store is swept on its own thread, so that one which is away holds up no other. A sweep claims a batch, sends it and
marks what was sent; what the queue did not take is claimed again when the claim has run out, in a later run: what
waits behind it has its turn before. An event may so be sent twice, and takes effect once by its consumer's inbox.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from itlc import aws, events, telemetry
from itlc.operation import Deadline
from itlc.settings import settings
from itlc.stores import mongo, neo4j, outbox, postgres

BATCH = 100
Counts = tuple[int, int]
"""How many events were waiting and how many of them were sent."""
AFTER_REFUSAL_SECONDS = events.CLAIM.total_seconds() / 2
"""For so long a store is swept on after a queue has refused events of it: less than they stay claimed, so that no run
meets them twice."""


@dataclass
class Swept:
    """What became of the events of one store."""

    waiting: int = 0
    sent: int = 0
    failed: bool = False


def relay(deadline: Deadline) -> dict[str, int]:
    """Sweep every outbox until it is empty or the time is up.

    Returns how many events were `sent`, how many were claimed and could not be sent (`unsent`), and how many stores
    `failed` or have such events; those are named in the log.
    """
    # Made before the threads need them: making boto3's clients is not safe in several at once.
    aws.client("sqs")
    aws.client("secretsmanager")
    settings()
    sweeps: dict[str, Sequence[Callable[[], Counts]]] = {
        **{database.name: [partial(_postgres, database)] for database in postgres.DATABASES},
        "itlc_pbfr": [partial(_mongo, store) for store in mongo.STORES],
        "neo4j": [_neo4j],
    }
    with ThreadPoolExecutor(len(sweeps)) as pool:
        ended = [pool.submit(_until_empty, name, parts, deadline) for name, parts in sweeps.items()]
        results = [future.result() for future in ended]
    return {
        "sent": sum(swept.sent for swept in results),
        "unsent": sum(swept.waiting - swept.sent for swept in results),
        "failed": sum(swept.failed or swept.sent < swept.waiting for swept in results),
    }


def _until_empty(store: str, sweeps: Sequence[Callable[[], Counts]], deadline: Deadline) -> Swept:
    """Sweep the parts of a store in turn, until nothing waits in any that the queues have not refused. A part that
    fails is left at that, and named in the log; when the queues are away, all are."""
    swept = Swept()
    log = telemetry.logger("relay_outbox")
    left = list(sweeps)
    refused_at: float | None = None
    while left and not deadline.passed:
        for sweep in tuple(left):
            began = time.monotonic()
            if refused_at is not None and began - refused_at > AFTER_REFUSAL_SECONDS:
                return swept
            try:
                found, taken = sweep()
            except events.QueuesAway as away:
                log.warning("outbox not sent: the queues are away", extra={"store": store, "events": away.unsent})
                swept.waiting += away.unsent
                return swept
            except Exception:
                log.exception("outbox not swept", extra={"store": store})
                swept.failed = True
                left.remove(sweep)
                continue
            swept.waiting, swept.sent = swept.waiting + found, swept.sent + taken
            if found == 0:
                left.remove(sweep)
            elif taken < found and refused_at is None:
                refused_at = began
    return swept


def _postgres(database: postgres.Database) -> Counts:
    claimed = database.write(lambda connection: outbox.claim(connection, BATCH))
    sent = events.send(claimed)
    if sent:
        database.write(lambda connection: outbox.mark_published(connection, sent))
    return len(claimed), len(sent)


def _mongo(store: mongo.DocumentStore) -> Counts:
    with store.read() as documents:
        return mongo.relay(documents, BATCH)


def _neo4j() -> Counts:
    claimed = neo4j.graph.write(lambda transaction: neo4j.claim(transaction, BATCH))
    sent = events.send(claimed)
    if sent:
        neo4j.graph.write(lambda transaction: neo4j.mark_published(transaction, sent))
    return len(claimed), len(sent)
