"""After the emulator was killed: what was in its queues is sent again, from what the stores know to have sent."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from infra.local.postgres import Credentials
from infra.local.server import Say

if TYPE_CHECKING:
    from pg8000.native import Connection

    from infra.local.stack import Endpoints

KEPT = timedelta(days=14)
"""So long ago may have been sent what a queue, or its dead-letter queue, still held."""
CHUNK = 5_000
# Two consumers keep no inbox: of a project its newest version is enough, of who left what is not done yet.
SENT = """
    SELECT id FROM outbox WHERE published_at > now() - CAST(:kept AS interval) AND queue NOT IN ('projects', 'erasures')
"""
NEWEST_OF_PROJECTS = """
    SELECT DISTINCT ON (aggregate) id FROM outbox
    WHERE published_at > now() - CAST(:kept AS interval) AND queue = 'projects'
    ORDER BY aggregate, aggregate_version DESC
"""
ERASURES = """
    SELECT id FROM outbox WHERE published_at > now() - CAST(:kept AS interval) AND queue = 'erasures'
        AND (payload ->> 'user_id')::integer = ANY(CAST(:under_way AS integer[]))
"""
CONSUMED = "SELECT DISTINCT message_id FROM inbox WHERE message_id = ANY(CAST(:ids AS uuid[]))"
WAIT_AGAIN = """
    UPDATE outbox SET published_at = NULL, claimed_until = now(), created_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[]))
"""
SENT_BY_GRAPH = (
    "MATCH (e:SentEvent) WHERE e.published_at > datetime() - duration({seconds: $kept}) RETURN e.id AS id ORDER BY e.id"
)
WAIT_AGAIN_IN_GRAPH = (
    "UNWIND $ids AS id MATCH (e:SentEvent {id: id}) SET e:Outbox, e.claimed_until = datetime(), "
    "e.created_at = datetime() REMOVE e:SentEvent, e.published_at"
)


def send_again(endpoints: "Endpoints", say: Say) -> None:
    """Have what the stores have sent and nobody has consumed wait in their outboxes again, for the relay to send it.

    How long ago the emulator died does not matter. What is consumed in spite of this is applied no second time: that is
    what inboxes are for. Raises the driver's error when a store cannot be asked.
    """
    with ExitStack() as held:
        databases = {name: held.enter_context(_connected(name, pair)) for name, pair in endpoints.postgres.items()}
        databases = {name: database for name, database in databases.items() if _migrated(database)}
        waiting = sum(_in_postgres(database, databases) for database in databases.values())
        waiting += _in_mongodb(endpoints.mongodb_url, databases) + _in_neo4j(endpoints, databases)
    if waiting:
        say(f"AWS emulator: its queues were lost; {waiting} events that nobody had consumed are sent again")


def _connected(name: str, pair: Credentials) -> "closing[Connection]":
    from pg8000.native import Connection

    url = urlsplit(pair.owner_url)
    user, password = unquote(url.username or name), unquote(url.password or "")
    at = {"host": url.hostname or "127.0.0.1", "port": url.port or 5432}
    return closing(Connection(user, password=password, database=name, timeout=60, **at))


def _migrated(database: "Connection") -> bool:
    return bool(database.run("SELECT to_regclass('outbox') IS NOT NULL")[0][0])


def _in_postgres(database: "Connection", databases: "Mapping[str, Connection]") -> int:
    kept = f"{KEPT.total_seconds()} seconds"
    ids = _unconsumed([str(row[0]) for row in database.run(SENT, kept=kept)], databases)
    ids += [str(row[0]) for row in database.run(NEWEST_OF_PROJECTS, kept=kept)]
    if "itlc_users" in databases:
        under_way = [row[0] for row in databases["itlc_users"].run("SELECT user_id FROM erasures")]
        ids += [str(row[0]) for row in database.run(ERASURES, kept=kept, under_way=under_way)]
    for chunk in _chunks(ids):
        database.run(WAIT_AGAIN, ids=chunk)
    return len(ids)


def _in_mongodb(url: str, databases: "Mapping[str, Connection]") -> int:
    from bson import ObjectId
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](url, tz_aware=True, serverSelectionTimeoutMS=5000) as client:
        database = client["itlc_pbfr"]
        now = datetime.now(UTC)
        sent = database["sent_events"].find({"published_at": {"$gt": now - KEPT}}, {"_id": 1})
        ids = _unconsumed([document["_id"] for document in sent], databases)
        for chunk in _chunks(ids):
            # The documents that they came from may be gone: what outlives its document is kept here.
            database["bookkeeping"].insert_many(
                {
                    "_id": ObjectId(),
                    "outbox": [{"id": one["_id"], "event": one["event"], "created_at": now, "claimed_until": now}],
                }
                for one in database["sent_events"].find({"_id": {"$in": chunk}})
            )
        return len(ids)


def _in_neo4j(endpoints: "Endpoints", databases: "Mapping[str, Connection]") -> int:
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
        sent = session.run(SENT_BY_GRAPH, kept=int(KEPT.total_seconds()))
        ids = _unconsumed([record["id"] for record in sent], databases)
        for chunk in _chunks(ids):
            session.run(WAIT_AGAIN_IN_GRAPH, ids=chunk).consume()
        return len(ids)


def _unconsumed(ids: list[str], databases: "Mapping[str, Connection]") -> list[str]:
    """Those of these events that no inbox knows."""
    consumed = {
        str(row[0])
        for chunk in _chunks(ids)
        for database in databases.values()
        for row in database.run(CONSUMED, ids=chunk)
    }
    return [one for one in ids if one not in consumed]


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
