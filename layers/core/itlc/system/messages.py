"""What must be true of events: sent soon, consumed soon, as they were written, each told once; and of kept answers."""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from heapq import merge
from itertools import chain, groupby
from typing import Any

from itlc.orders.closing import NAMESPACE
from itlc.stores import mongo, neo4j, postgres
from itlc.stores.inbox import as_jsonb_takes_it
from itlc.system.dead_letters import buried_events
from itlc.system.findings import Tally, batches, side_by_side
from itlc.system.snapshots import Snapshots

OUTBOX_AGE = timedelta(minutes=2)
LOOKED_FOR, CONSUMED_AFTER = timedelta(days=14), timedelta(minutes=15)
"""How long ago an event was sent that is looked for among the consumed ones, at most and at least."""
BATCH = 1_000

COUNT_OUTBOX = "SELECT count(*) FROM outbox"
OLD_EVENTS = """
    SELECT id FROM outbox WHERE published_at IS NULL AND created_at < now() - interval '2 minutes' ORDER BY created_at
"""
COUNT_WAITING_IN_GRAPH = "MATCH (o:Outbox) RETURN count(o) AS looked_at"
OLD_EVENTS_IN_GRAPH = """
    MATCH (o:Outbox) WHERE o.created_at < datetime() - duration({seconds: $seconds})
    RETURN count(o) AS broken, collect(o.id)[..$most] AS ids
"""


def check_outboxes(stores: Snapshots, tally: Tally) -> None:
    """Look through all seven outboxes for events that have waited for longer than two minutes."""
    for database in postgres.DATABASES:
        snapshot = stores.of(database)
        tally.look(snapshot.number(COUNT_OUTBOX))
        for row in snapshot.rows(OLD_EVENTS):
            tally.report(f"{database.name}.outbox:{row.id}")
    for store in mongo.STORES:
        with store.read() as documents:
            before = mongo.now() - OUTBOX_AGE
            waiting = documents.find({"outbox.claimed_until": {"$exists": True}}, {"outbox": 1})
            for document in stores.in_time(waiting):
                for entry in document["outbox"]:
                    tally.look()
                    if entry["created_at"] < before:
                        tally.report(f"itlc_pbfr.{store.collection}:{document['_id']}:{entry['id']}")
    _check_graph(tally, COUNT_WAITING_IN_GRAPH, OLD_EVENTS_IN_GRAPH, "neo4j.outbox", seconds=OUTBOX_AGE.seconds)


def _check_graph(tally: Tally, looked: str, wrong: str, what: str, **values: Any) -> None:
    """Report what one query finds in the graph: how many, and the first `ids`."""

    def look(graph: neo4j.GraphTransaction) -> tuple[int, int, list[str]]:
        (counted,), (found,) = graph.run(looked), graph.run(wrong, most=100, **values)
        return counted["looked_at"], found["broken"], found["ids"]

    looked_at, broken, ids = neo4j.graph.read(look)
    tally.look(looked_at)
    for name in ids:
        tally.report(f"{what}:{name}")
    tally.broken += broken - len(ids)


# Consumed

COUNT_SENT = "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL"
# Two consumers keep no inbox, for what they do may be repeated. Of a project's progress the project itself tells
# (`project_follows_its_orders`), of an erasure the user; both are told of by PostgreSQL alone. Sent events are kept for
# 15 days, inboxes for longer.
SENT = """
    SELECT get_byte(uuid_send(id), 0) * 256 + get_byte(uuid_send(id), 1) AS part,
        string_agg(uuid_send(id), ''::bytea) AS ids
    FROM outbox
    WHERE queue NOT IN ('projects', 'erasures')
        AND published_at BETWEEN now() - interval '14 days' AND now() - interval '15 minutes'
    GROUP BY 1 ORDER BY 1
"""
RECEIVED = """
    SELECT get_byte(uuid_send(message_id), 0) * 256 + get_byte(uuid_send(message_id), 1) AS part,
        string_agg(uuid_send(message_id), ''::bytea) AS ids
    FROM inbox GROUP BY 1 ORDER BY 1
"""


ERASURES = """
    SELECT id, (payload ->> 'user_id')::integer AS user_id FROM outbox
    WHERE queue = 'erasures' AND type = 'erase'
        AND published_at BETWEEN now() - interval '14 days' AND now() - interval '15 minutes'
    ORDER BY (payload ->> 'user_id')::integer
"""
NOT_ERASED = "SELECT id FROM users WHERE id = ANY(CAST(:ids AS integer[])) AND erased_at IS NULL"
# The last of an erasure's messages is sent at most 15 minutes after the first one took effect.
ERASURES_BEGUN = "SELECT user_id FROM erasures WHERE begun_at < now() - interval '20 minutes' ORDER BY user_id"
JUST_SENT = """
    SELECT id FROM outbox
    WHERE id = ANY(CAST(:ids AS uuid[])) AND (published_at IS NULL OR published_at > now() - interval '20 minutes')
"""


def check_consumed(stores: Snapshots, tally: Tally) -> None:
    """Look for each event that was sent a quarter of an hour ago in the inboxes, and then in the dead-letter queues;
    there, too, for each erasure that should have ended."""
    snapshots = [stores.of(database) for database in postgres.DATABASES]
    tally.look(sum(snapshot.number(COUNT_SENT) for snapshot in snapshots))
    elsewhere = (mongo.sent_ids(LOOKED_FOR, CONSUMED_AFTER), _sent_from_graph())
    sent = merge(
        *(snapshot.rows(SENT) for snapshot in snapshots),
        *(_in_parts((uuid.UUID(id).bytes for id in stores.in_time(ids)), tally) for ids in elsewhere),
        key=_part,
    )
    received = merge(*(snapshot.rows(RECEIVED) for snapshot in snapshots), key=_part)
    buried: set[uuid.UUID] | None = None
    lost = ((f"event:{one}", {one}) for one in chain(unconsumed(sent, received), _erasures_to_do(stores)))
    for name, ids in chain(lost, _erasures_to_end(stores)):
        buried = buried_events(stores.deadline) if buried is None else buried
        if not ids & buried:
            tally.report(name)


def _sent_from_graph() -> Iterator[str]:
    after: str | None = ""
    while after is not None:
        looked_for = partial(neo4j.sent_ids, after=after, since=LOOKED_FOR, until=CONSUMED_AFTER, limit=BATCH)
        ids = neo4j.graph.read(looked_for)
        yield from ids
        after = ids[-1] if len(ids) == BATCH else None


@dataclass(frozen=True)
class _Part:
    """The ids that begin with the same two bytes, as the bytes of all of them at once; where it is asked what they
    said, behind each a hash of that."""

    part: int
    ids: bytes


def _in_parts(ids: Iterable[bytes], tally: Tally) -> Iterator[_Part]:
    """The ids of another store, which come in their order, as PostgreSQL gives its own."""
    for part, same in groupby(ids, lambda id: int.from_bytes(id[:2])):
        packed = list(same)
        tally.look(len(packed))
        yield _Part(part, b"".join(packed))


def _erasures_to_do(stores: Snapshots) -> Iterator[uuid.UUID]:
    """The events of erasures that were sent a quarter of an hour ago, of users who are still there."""
    users = stores.of(postgres.users)
    for batch in batches(stores.of(postgres.orders).rows(ERASURES), BATCH):
        alive = {row.id for row in users.rows(NOT_ERASED, ids=[row.user_id for row in batch])}
        yield from (row.id for row in batch if row.user_id in alive)


def _erasures_to_end(stores: Snapshots) -> Iterator[tuple[str, set[uuid.UUID]]]:
    """The erasures that were begun 20 minutes ago and have not ended, each with the events that drive it. One whose
    first event waits to be sent, or was sent since, is left out."""
    orders = stores.of(postgres.orders)
    for batch in batches(stores.of(postgres.users).rows(ERASURES_BEGUN), BATCH):
        first = {uuid.uuid5(NAMESPACE, f"erase:{row.user_id}"): row.user_id for row in batch}
        just_sent = {row.id for row in orders.rows(JUST_SENT, ids=[str(one) for one in first])}
        for event_id, user_id in first.items():
            if event_id not in just_sent:
                yield f"erasure:{user_id}", {event_id, uuid.uuid5(NAMESPACE, f"erase_again:{user_id}")}


def unconsumed(sent: Iterable[Any], received: Iterable[Any]) -> Iterator[uuid.UUID]:
    """The ids that were sent and not received. They come by `part`, as the bytes of many ids at once: a row for each
    would take thirty times as long."""
    for there, here in side_by_side(sent, received, _part, _part):
        if there:
            gone = {one for row in there for one in _split(row.ids, 16)}
            for row in here:
                gone.difference_update(_split(row.ids, 16))
            yield from sorted(uuid.UUID(bytes=one) for one in gone)


def _part(row: Any) -> int:
    part: int = row.part
    return part


def _split(packed: bytes, size: int) -> Iterator[bytes]:
    return (packed[start : start + size] for start in range(0, len(packed), size))


# Versions and payloads

COUNT_VERSIONED = "SELECT count(*) FROM outbox WHERE aggregate_version IS NOT NULL"
# Old events go after 15 days, in no order: of those that are left the younger ones are all there.
GAPS = """
    SELECT aggregate AS name FROM outbox
    WHERE aggregate_version IS NOT NULL AND created_at > now() - interval '14 days'
    GROUP BY queue, type, aggregate
    HAVING count(DISTINCT aggregate_version) <> count(*)
        OR count(*) <> max(aggregate_version) - min(aggregate_version) + 1
    ORDER BY aggregate
"""
UNTOLD_PROGRESS = """
    SELECT 'project:' || p.project_id AS name FROM project_progress p
    LEFT JOIN (
        SELECT aggregate, min(aggregate_version) AS first, max(aggregate_version) AS version FROM outbox
        WHERE queue = 'projects' AND created_at > now() - interval '14 days' GROUP BY aggregate
    ) told ON told.aggregate = 'project:' || p.project_id
    LEFT JOIN (
        SELECT project_id, min(created_at) AS begun_at FROM orders WHERE project_id IS NOT NULL GROUP BY project_id
    ) o ON o.project_id = p.project_id
    WHERE p.version <> told.version
        OR (told.version IS NULL AND p.version > 0 AND p.updated_at > now() - interval '14 days')
        -- the first order gives the first version, in one commit: too young to have been purged
        OR (told.first > 1 AND o.begun_at > now() - interval '14 days')
    ORDER BY p.project_id
"""
# What was said, as `itlc.stores.inbox` makes the fingerprint of it: behind the 16 bytes of an id stand 32 of a hash.
SAID = """
    SELECT part, string_agg(event, ''::bytea) AS ids FROM (
        SELECT get_byte(uuid_send(id), 0) * 256 + get_byte(uuid_send(id), 1) AS part, uuid_send(id)
            || sha256(convert_to(jsonb_build_array(type, aggregate, aggregate_version, payload)::text, 'UTF8')) AS event
        FROM outbox OFFSET 0
    ) said GROUP BY part ORDER BY part
"""
UNDERSTOOD = """
    SELECT get_byte(uuid_send(message_id), 0) * 256 + get_byte(uuid_send(message_id), 1) AS part,
        string_agg(uuid_send(message_id) || fingerprint, ''::bytea) AS ids
    FROM inbox WHERE fingerprint IS NOT NULL GROUP BY 1 ORDER BY 1
"""
# Of another store.
SAID_ELSEWHERE = """
    SELECT uuid_send(id) || sha256(convert_to(
        jsonb_build_array(said -> 'type', said -> 'aggregate', said -> 'aggregate_version', said -> 'payload')::text,
        'UTF8'
    )) AS event
    FROM (
        SELECT (sent ->> 0)::uuid AS id, sent -> 1 AS said FROM jsonb_array_elements(CAST(:sent AS jsonb)) AS sent
    ) elsewhere ORDER BY id
"""


def check_versions(stores: Snapshots, tally: Tally) -> None:
    """Look for versions of an aggregate that were left out or given twice, and for the first or the last one that was
    not told."""
    for database in postgres.DATABASES:
        snapshot = stores.of(database)
        tally.look(snapshot.number(COUNT_VERSIONED))
        for row in snapshot.rows(GAPS):
            tally.report(row.name)
    for row in stores.of(postgres.orders).rows(UNTOLD_PROGRESS):
        tally.report(row.name)


def check_payloads(stores: Snapshots, tally: Tally) -> None:
    """Look for an event that says one thing where it was written, and said another when it was applied."""
    snapshots = [stores.of(database) for database in postgres.DATABASES]
    elsewhere = (mongo.sent_texts(), _texts_from_graph())
    everywhere = merge(
        *(snapshot.rows(query) for snapshot in snapshots for query in (SAID, UNDERSTOOD)),
        *(_in_parts(_said_elsewhere(stores, texts), tally) for texts in elsewhere),
        key=_part,
    )
    tally.look(sum(snapshot.number(COUNT_OUTBOX) for snapshot in snapshots))
    for part, _ in side_by_side(everywhere, (), _part, _part):
        for event_id in contradicted(part):
            tally.report(f"event:{event_id}")


def contradicted(part: Iterable[Any]) -> list[uuid.UUID]:
    """The ids behind which stand two hashes or more, among the rows of one part."""
    said = {event for row in part for event in _split(row.ids, 48)}
    ids = Counter(event[:16] for event in said)
    return [] if len(ids) == len(said) else sorted(uuid.UUID(bytes=one) for one, many in ids.items() if many > 1)


def _texts_from_graph() -> Iterator[tuple[str, str]]:
    after: str | None = ""
    while after is not None:
        texts = neo4j.graph.read(partial(neo4j.sent_texts, after=after, limit=BATCH))
        yield from texts
        after = texts[-1][0] if len(texts) == BATCH else None


def _said_elsewhere(stores: Snapshots, texts: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """The ids and hashes of the events of another store, which any of the databases can make."""
    for batch in batches(stores.in_time(texts), BATCH):
        sent = as_jsonb_takes_it([(event_id, _read(event)) for event_id, event in batch])
        for row in stores.of(postgres.orders).rows(SAID_ELSEWHERE, sent=sent):
            yield row.event


def _read(event: str) -> Any:
    """What a JSON text says; nothing, where it is none any more."""
    try:
        return json.loads(event)
    except ValueError:
        return None


# Kept answers

COUNT_FINISHED = "SELECT count(*) FROM idempotency_keys WHERE status IS NOT NULL"
WITHOUT_ANSWER = """
    SELECT operation, caller, key FROM idempotency_keys
    WHERE status IS NOT NULL
        AND (headers IS NULL OR body IS NULL OR (body = '' AND status <> 204) OR (status = 201 AND body IS NOT JSON))
"""
# A key is begun with what it began, in one commit, and answered with the end of that. Of nothing else is one begun.
BEGUN = "SELECT k.operation, k.caller, k.key FROM idempotency_keys k WHERE k.status IS NULL"
UNDER_WAY = {
    "itlc_orders": """
        AND NOT EXISTS (SELECT FROM payments p WHERE p.status = 'paying'
            AND (p.key_caller, p.key_operation, p.key) = (k.caller, k.operation, k.key))
        AND NOT EXISTS (SELECT FROM refunds r WHERE r.status = 'refunding'
            AND (r.key_caller, r.key_operation, r.key) = (k.caller, k.operation, k.key))
    """
}
# What was created under a key, by operation; of what can be deleted (a template, a step) nothing is asked.
CREATED = """
    WITH created AS (
        SELECT operation, caller, key, CASE WHEN body IS JSON OBJECT THEN body::jsonb ->> 'id' END AS id
        FROM idempotency_keys WHERE status IN (201, 202)
    )
"""
UNCREATED = {
    "itlc_users": f"""{CREATED}
        SELECT operation, caller, created.key FROM created LEFT JOIN users r ON r.id::text = created.id
        WHERE operation = 'register_user' AND r.id IS NULL
    """,  # noqa: S608 - of constants
    "itlc_api": f"""{CREATED}
        SELECT operation, caller, created.key FROM created LEFT JOIN providers r ON r.id::text = created.id
        WHERE operation = 'become_provider' AND r.id IS NULL
        UNION ALL
        SELECT operation, caller, created.key FROM created LEFT JOIN services r ON r.id::text = created.id
        WHERE operation = 'publish_service' AND r.id IS NULL
    """,  # noqa: S608 - of constants
    "itlc_orders": f"""{CREATED}
        SELECT operation, caller, created.key FROM created LEFT JOIN bidding r ON r.id::text = created.id
        WHERE operation = 'place_bid' AND r.id IS NULL
        UNION ALL
        SELECT operation, caller, created.key FROM created LEFT JOIN orders r ON r.id::text = created.id
        WHERE operation = 'make_order' AND r.id IS NULL
        UNION ALL
        SELECT operation, caller, created.key FROM created LEFT JOIN checkins r ON r.id::text = created.id
        WHERE operation = 'check_in' AND r.id IS NULL
        UNION ALL
        SELECT operation, caller, created.key FROM created LEFT JOIN refunds r ON r.id::text = created.id
        WHERE operation = 'refund_order' AND r.id IS NULL
        UNION ALL
        SELECT k.operation, k.caller, k.key FROM idempotency_keys k LEFT JOIN payments p
            ON (p.key_caller, p.key_operation, p.key) = (k.caller, k.operation, k.key) AND p.status = 'settled'
        WHERE k.operation IN ('pay_order', 'pay_project') AND k.status = 201 AND p.id IS NULL
    """,  # noqa: S608 - of constants
    "itlc_tokens": f"""{CREATED}
        SELECT operation, caller, created.key FROM created LEFT JOIN token_topups r ON r.id::text = created.id
        WHERE operation = 'top_up' AND r.id IS NULL
    """,  # noqa: S608 - of constants
}
UNANSWERED = {"$or": [{"idempotency.answer.status": None}, {"idempotency.answer.body": None}]}
COUNT_KEYS_IN_GRAPH = "MATCH (k:IdempotencyKey) RETURN count(k) AS looked_at"
UNANSWERED_IN_GRAPH = """
    MATCH (k:IdempotencyKey) WHERE k.answer IS NULL OR k.fingerprint IS NULL OR k.expires_at IS NULL
    RETURN count(k) AS broken, collect(k.identity)[..$most] AS ids
"""


def check_keys(stores: Snapshots, tally: Tally) -> None:
    """Look for finished keys without an answer, or without what they say was created; and for begun keys under which
    nothing is under way."""
    for database in postgres.DATABASES:
        snapshot = stores.of(database)
        tally.look(snapshot.number(COUNT_FINISHED))
        begun = BEGUN + UNDER_WAY.get(database.name, "")
        for query in (WITHOUT_ANSWER, begun, UNCREATED.get(database.name)):
            if query is not None:
                for row in snapshot.rows(query):
                    tally.report(f"key:{json.dumps([row.caller, row.operation, row.key])}")
    for store in mongo.STORES:
        with store.read() as documents:
            keyed = {"idempotency.key": {"$exists": True}}
            tally.look(documents.count_documents(keyed))
            for document in stores.in_time(documents.find({"$and": [keyed, UNANSWERED]}, {"idempotency.key": 1})):
                tally.report(f"key:{document['idempotency']['key']}")
    _check_graph(tally, COUNT_KEYS_IN_GRAPH, UNANSWERED_IN_GRAPH, "key")


# Told

COUNT_NOTIFICATIONS = "SELECT count(*) FROM notifications"
TOLD_TWICE = """
    SELECT max(id) AS id FROM notifications GROUP BY event_id, user_id HAVING count(*) > 1 ORDER BY max(id)
"""
# Inboxes are kept for 30 days, what was sent for 15. Who was told may delete it, so what is not there says nothing.
TOLD_BY_NOTHING = """
    SELECT n.id FROM notifications n
    LEFT JOIN inbox i ON (i.consumer, i.message_id) = ('deliver_notifications', n.event_id)
    WHERE n.created_at > now() - interval '29 days' AND i.message_id IS NULL ORDER BY n.id
"""
TOLD_OTHERWISE = """
    SELECT n.id FROM notifications n JOIN ({events}) e ON e.id = n.event_id
    WHERE e.queue <> 'notifications' OR n.about <> e.aggregate OR n.message IS DISTINCT FROM e.payload ->> 'message'
        OR e.payload -> 'actor_id' = to_jsonb(n.user_id)
        -- an address tells who has it, or had it then
        OR NOT coalesce(e.payload -> 'user_ids' @> to_jsonb(n.user_id) OR e.payload -> 'emails' <> '[]', false)
    ORDER BY n.id
"""
TOLD_OTHERWISE_HERE = TOLD_OTHERWISE.format(events="SELECT id, queue, aggregate, payload FROM outbox")
TOLD_OTHERWISE_ELSEWHERE = TOLD_OTHERWISE.format(
    events="""
        SELECT (said ->> 'id')::uuid AS id, said ->> 'queue' AS queue, said ->> 'aggregate' AS aggregate,
            said -> 'payload' AS payload
        FROM jsonb_array_elements(CAST(:events AS jsonb)) AS said
    """
)
TOLD_FROM_ELSEWHERE = """
    SELECT DISTINCT n.event_id FROM notifications n
    WHERE n.created_at > now() - interval '15 days' AND NOT EXISTS (SELECT FROM outbox o WHERE o.id = n.event_id)
"""
SENT_AMONG = "SELECT id, queue, aggregate, payload FROM outbox WHERE id = ANY(CAST(:ids AS uuid[]))"


def check_notifications(stores: Snapshots, tally: Tally) -> None:
    """Look for somebody whom one event told twice, and for what no event tells them, as far as it is still known."""
    orders = stores.of(postgres.orders)
    tally.look(orders.number(COUNT_NOTIFICATIONS))
    for query in (TOLD_TWICE, TOLD_BY_NOTHING, TOLD_OTHERWISE_HERE):
        for row in orders.rows(query):
            tally.report(f"notification:{row.id}")
    for batch in batches(orders.rows(TOLD_FROM_ELSEWHERE), BATCH):
        sent = as_jsonb_takes_it(_sent_among(stores, [str(row.event_id) for row in batch]))
        for row in orders.rows(TOLD_OTHERWISE_ELSEWHERE, events=sent):
            tally.report(f"notification:{row.id}")


def _sent_among(stores: Snapshots, ids: list[str]) -> list[dict[str, Any]]:
    """Those of these events that another store than `itlc_orders` has sent and still keeps."""
    found: list[dict[str, Any]] = []
    for database in postgres.DATABASES:
        if database is not postgres.orders:
            found += (dict(row._mapping) | {"id": str(row.id)} for row in stores.of(database).rows(SENT_AMONG, ids=ids))
    for event_id, event in mongo.sent_among(ids) + neo4j.graph.read(partial(neo4j.sent_among, ids=ids)):
        said = _read(event)
        if isinstance(said, dict):
            found.append({**said, "id": event_id})
    return found
