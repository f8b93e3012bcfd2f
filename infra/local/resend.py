"""After the emulator was killed: what was in its queues is sent again, from what the stores know to have sent."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from infra.local.postgres import Credentials
from infra.local.server import Say

if TYPE_CHECKING:
    from infra.local.stack import Endpoints

LOST = timedelta(hours=1)
"""What was sent longer ago was consumed, or is a dead letter that its operator knows of."""
WAIT_AGAIN = (
    "UPDATE outbox SET published_at = NULL, claimed_until = now(), created_at = now() "
    "WHERE published_at > now() - CAST(:lost AS interval)"
)
WAIT_AGAIN_IN_GRAPH = (
    "MATCH (e:SentEvent) WHERE e.published_at > datetime() - duration({seconds: $lost}) "
    "SET e:Outbox, e.claimed_until = datetime(), e.created_at = datetime() "
    "REMOVE e:SentEvent, e.published_at RETURN count(*) AS waiting"
)


def send_again(endpoints: "Endpoints", say: Say) -> None:
    """Have the events of the last hour wait in the outboxes of all stores again, for the relay to send them.

    What was consumed already is applied no second time: that is what inboxes are for. Raises the driver's error when a
    store cannot be asked.
    """
    waiting = sum(_in_postgres(name, pair) for name, pair in endpoints.postgres.items())
    waiting += _in_mongodb(endpoints.mongodb_url) + _in_neo4j(endpoints)
    if waiting:
        say(f"AWS emulator: its queues were lost; {waiting} events of the last hour are sent again")


def _in_postgres(name: str, pair: Credentials) -> int:
    import pg8000.native

    url = urlsplit(pair.owner_url)
    with closing(
        pg8000.native.Connection(
            unquote(url.username or name),
            host=url.hostname or "127.0.0.1",
            port=url.port or 5432,
            password=unquote(url.password or ""),
            database=name,
            timeout=30,
        )
    ) as connection:
        if not connection.run("SELECT to_regclass('outbox') IS NOT NULL")[0][0]:
            return 0
        connection.run(WAIT_AGAIN, lost=f"{LOST.total_seconds()} seconds")
        return int(connection.row_count)


def _in_mongodb(url: str) -> int:
    from bson import ObjectId
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](url, tz_aware=True, serverSelectionTimeoutMS=5000) as client:
        database = client["itlc_pbfr"]
        now = datetime.now(UTC)
        waiting = [
            {"id": sent["_id"], "event": sent["event"], "created_at": now, "claimed_until": now}
            for sent in database["sent_events"].find({"published_at": {"$gt": now - LOST}})
        ]
        if waiting:
            # The documents that they came from may be gone: what outlives its document is kept here.
            database["bookkeeping"].insert_many([{"_id": ObjectId(), "outbox": [entry]} for entry in waiting])
        return len(waiting)


def _in_neo4j(endpoints: "Endpoints") -> int:
    from neo4j import GraphDatabase

    with (
        GraphDatabase.driver(
            endpoints.neo4j_uri,
            auth=(endpoints.neo4j_user, endpoints.neo4j_password),
            notifications_min_severity="OFF",  # it warns of labels that no node has yet
            telemetry_disabled=True,
        ) as driver,
        driver.session(database=endpoints.neo4j_database) as session,
    ):
        record = session.run(WAIT_AGAIN_IN_GRAPH, lost=int(LOST.total_seconds())).single()
        return int(record["waiting"]) if record else 0
