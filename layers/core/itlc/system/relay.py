"""The safety net under every commit: events that could not be sent at once are sent from the outboxes here.

Each store is swept on its own thread, so that one which is away holds up no other. A sweep claims a batch, sends it and
marks what was sent; what the queue did not take is claimed again when the claim has run out. An event may so be sent
twice, and takes effect once by its consumer's inbox.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from itlc import aws, events, telemetry
from itlc.operation import Deadline
from itlc.settings import settings
from itlc.stores import mongo, neo4j, outbox, postgres

BATCH = 100
Counts = tuple[int, int]
"""How many events were waiting and how many of them were sent."""


def relay(deadline: Deadline) -> dict[str, int]:
    """Sweep every outbox until it is empty or the time is up.

    Returns how many events were `sent`, how many were claimed and could not be sent (`unsent`), and the number of
    stores that failed (`stores_away`), which are named in the log.
    """
    # Made before the threads need them: making boto3's clients is not safe in several at once.
    aws.client("sqs")
    aws.client("secretsmanager")
    settings()
    sweeps: dict[str, Callable[[], Counts]] = {
        **{database.name: partial(_postgres, database) for database in postgres.DATABASES},
        "itlc_pbfr": _mongo,
        "neo4j": _neo4j,
    }
    with ThreadPoolExecutor(len(sweeps)) as pool:
        ended = [pool.submit(_until_empty, name, sweep, deadline) for name, sweep in sweeps.items()]
        results = [future.result() for future in ended]
    return {
        "sent": sum(sent for _, sent, _ in results),
        "unsent": sum(waiting - sent for waiting, sent, _ in results),
        "stores_away": sum(failed for _, _, failed in results),
    }


def _until_empty(name: str, sweep: Callable[[], Counts], deadline: Deadline) -> tuple[int, int, bool]:
    waiting = sent = 0
    try:
        for found, taken in _batches(sweep, deadline):
            waiting, sent = waiting + found, sent + taken
    except Exception:
        telemetry.logger("relay_outbox").exception("outbox not swept", extra={"store": name})
        return waiting, sent, True
    return waiting, sent, False


def _batches(sweep: Callable[[], Counts], deadline: Deadline) -> Iterator[Counts]:
    while not deadline.passed:
        found, taken = sweep()
        yield found, taken
        if taken == 0:  # nothing waits, or the queues take nothing just now
            return


def _postgres(database: postgres.Database) -> Counts:
    claimed = database.write(lambda connection: outbox.claim(connection, BATCH))
    sent = events.send(claimed)
    if sent:
        database.write(lambda connection: outbox.mark_published(connection, sent))
    return len(claimed), len(sent)


def _mongo() -> Counts:
    waiting = sent = 0
    for store in mongo.STORES:
        with store.read() as documents:
            found, taken = mongo.relay(documents, BATCH)
        waiting, sent = waiting + found, sent + taken
    return waiting, sent


def _neo4j() -> Counts:
    claimed = neo4j.graph.write(lambda transaction: neo4j.claim(transaction, BATCH))
    sent = events.send(claimed)
    if sent:
        neo4j.graph.write(lambda transaction: neo4j.mark_published(transaction, sent))
    return len(claimed), len(sent)
