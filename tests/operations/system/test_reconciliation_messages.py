"""Reconciliation: events, kept answers and notifications that are broken are reported, by their names, and alone."""

import json
import uuid
from datetime import timedelta

import pytest
from bson import ObjectId
from itlc import aws, events
from itlc.access import Caller
from itlc.accounts import erasure
from itlc.events import event
from itlc.notices import notice
from itlc.operation import Deadline
from itlc.orders import closing
from itlc.settings import settings
from itlc.stores import mongo, neo4j, outbox, postgres
from itlc.system.dead_letters import buried_events
from itlc.system.findings import NotChecked
from itlc.system.snapshots import Snapshots

from tests.operations.system.world import LONG_AGO, World
from tests.support.calling import As
from tests.support.market import member
from tests.support.queues import dead_letters, drain, receive_all


def wait_in(world: World, where: str) -> str:
    """An event that has waited for three minutes in one store, held by nobody; returns how it is named."""
    one = event("notifications", "notice", "order:1", {"message": "a", "user_ids": [], "emails": [], "actor_id": None})
    if where == "neo4j":
        neo4j.graph.write(lambda transaction: transaction.emit(one))
        world.stores.graph(
            "MATCH (o:Outbox) SET o.created_at = datetime() - duration({minutes: 3}), "
            "o.claimed_until = datetime() - duration({minutes: 1})"
        )
        return f"neo4j.outbox:{one.id}"
    if where == "itlc_pbfr":
        entry = mongo.outbox_entry(one)
        entry |= {
            "created_at": mongo.now() - timedelta(minutes=3),
            "claimed_until": mongo.now() - timedelta(minutes=1),
        }
        project_id = ObjectId(world.project)
        world.stores.mongo["itlc_pbfr"]["projects"].update_one({"_id": project_id}, {"$push": {"outbox": entry}})
        return f"itlc_pbfr.projects:{project_id}:{one.id}"
    database = next(database for database in postgres.DATABASES if database.name == where)
    database.write(lambda db: outbox.emit(db, one))
    world.sql(
        where,
        "UPDATE outbox SET created_at = now() - interval '3 minutes', claimed_until = now() WHERE published_at IS NULL",
    )
    return f"{where}.outbox:{one.id}"


@pytest.mark.parametrize("where", [*(database.name for database in postgres.DATABASES), "itlc_pbfr", "neo4j"])
def test_an_event_that_waits_is_reported_and_sent(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(events, "send_now", lambda emitted, published: None)
        name = wait_in(world, where)
    finding = world.found()["outbox_is_sent_in_time"]
    assert (finding["state"], finding["rows"]) == ("broken", [name])
    assert finding["remark"] == "1 waiting events were sent again"
    assert world.broken() == {}
    assert drain() == 1


def sent_long_ago(world: World) -> str:
    """The id of an event that was sent 20 minutes ago and whose message got lost."""
    (row,) = world.sql(
        "itlc_orders",
        f"UPDATE outbox SET published_at = {LONG_AGO} WHERE id = (SELECT min(id::text)::uuid FROM outbox "
        "WHERE queue = 'notifications') RETURNING id",
    )
    world.sql("itlc_orders", "DELETE FROM inbox WHERE message_id = :id", id=row["id"])
    world.sql("itlc_orders", "DELETE FROM notifications WHERE event_id = :id", id=row["id"])
    return str(row["id"])


def test_a_sent_event_that_nobody_consumed(world: World) -> None:
    lost = sent_long_ago(world)
    assert world.broken() == {"sent_event_is_consumed": [f"event:{lost}"]}


@pytest.mark.parametrize("where", ["itlc_pbfr", "neo4j"])
def test_an_event_of_another_store_that_nobody_consumed(world: World, where: str) -> None:
    lost = event("notifications", "notice", "order:1", {"message": "a", "user_ids": [], "emails": [], "actor_id": None})
    if where == "neo4j":
        neo4j.graph.write(lambda transaction: transaction.emit(lost))
        ago = "SET e.published_at = datetime() - duration({minutes: $minutes})"
        world.stores.graph(f"MATCH (e:SentEvent) {ago}", minutes=14)
    else:
        mongo.projects.write(lambda writer: writer.create({"owner_id": 0}, lambda _: None, lost))
        young = {"$set": {"published_at": mongo.now() - timedelta(minutes=14)}}
        world.stores.mongo["itlc_pbfr"]["sent_events"].update_many({}, young)
    assert len(receive_all("notifications")) == 1
    assert "sent_event_is_consumed" not in world.broken(), "it may be on its way"
    if where == "neo4j":
        world.stores.graph(f"MATCH (e:SentEvent) {ago}", minutes=16)
    else:
        old = {"$set": {"published_at": mongo.now() - timedelta(minutes=16)}}
        world.stores.mongo["itlc_pbfr"]["sent_events"].update_many({}, old)
    assert world.broken()["sent_event_is_consumed"] == [f"event:{lost.id}"]


def test_a_sent_event_may_be_a_dead_letter(world: World) -> None:
    lost = sent_long_ago(world)
    events.bury("notifications", json.dumps({"id": lost}), "as a test")
    events.bury("notifications", "no event", "as a test")
    for _ in range(2):  # who looks at a dead letter leaves it there for the next
        assert world.broken() == {}
    aws.client("sqs").purge_queue(QueueUrl=settings().dead_letter_queues["notifications"])
    assert dead_letters("notifications") == []


def test_dead_letters_that_somebody_else_looks_at_are_not_taken_for_lost(world: World) -> None:
    lost = sent_long_ago(world)
    events.bury("notifications", json.dumps({"id": lost}), "as a test")
    url = settings().dead_letter_queues["notifications"]
    (seen,) = aws.client("sqs").receive_message(QueueUrl=url)["Messages"]
    finding = world.found()["sent_event_is_consumed"]
    assert (finding["state"], finding["rows"]) == ("not checked", [])
    assert finding["remark"] == "1 dead letters of the queue notifications could not be seen; try again in a minute"
    aws.client("sqs").change_message_visibility(QueueUrl=url, ReceiptHandle=seen["ReceiptHandle"], VisibilityTimeout=0)
    assert world.broken() == {}
    aws.client("sqs").purge_queue(QueueUrl=url)


def test_without_time_nothing_is_said_of_dead_letters_and_documents() -> None:
    passed = Deadline(at=0)
    with pytest.raises(NotChecked, match="no time left"):
        buried_events(passed)
    with pytest.raises(NotChecked, match="no time left"):
        list(Snapshots(passed).in_time([{}]))


def test_an_erasure_that_nobody_does(world: World) -> None:
    asked = events.event("erasures", "erase", "user:1", {"user_id": world.bob.user_id})
    postgres.orders.write(lambda db: outbox.emit(db, asked))
    assert world.broken() == {}
    world.sql("itlc_orders", f"UPDATE outbox SET published_at = {LONG_AGO} WHERE id = :id", id=asked.id)
    assert world.broken() == {"sent_event_is_consumed": [f"event:{asked.id}"]}


def test_an_erasure_that_does_not_end(world: World) -> None:
    eve = member("Eve")
    world.sql("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=eve.user_id)
    begin = "INSERT INTO erasures VALUES (:id, '[]', '[]', now() - interval '19 minutes')"
    world.sql("itlc_users", begin, id=eve.user_id)
    assert world.broken() == {}, "its last message may be on its way"
    world.sql("itlc_users", f"UPDATE erasures SET begun_at = {LONG_AGO}")
    assert world.broken() == {"sent_event_is_consumed": [f"erasure:{eve.user_id}"]}


@pytest.mark.parametrize("type", [closing.TYPE, erasure.LAST_TIME])
def test_an_erasure_that_does_not_end_may_be_a_dead_letter(world: World, type: str) -> None:
    eve = member("Eve")
    world.sql("itlc_users", f"INSERT INTO erasures VALUES (:id, '[]', '[]', {LONG_AGO})", id=eve.user_id)
    buried = uuid.uuid5(closing.NAMESPACE, f"{type}:{eve.user_id}")
    events.bury("erasures", json.dumps({"id": str(buried)}), "as a test")
    assert world.broken() == {}
    aws.client("sqs").purge_queue(QueueUrl=settings().dead_letter_queues["erasures"])
    assert world.broken() == {"sent_event_is_consumed": [f"erasure:{eve.user_id}"]}


def test_an_erasure_whose_event_was_sent_late_is_not_over_yet(world: World) -> None:
    eve = member("Eve")
    postgres.orders.write(lambda db: closing.close_account(db, caller=Caller(eve.user_id)))
    world.erase(eve)
    world.sql("itlc_users", f"INSERT INTO erasures VALUES (:id, '[]', '[]', {LONG_AGO})", id=eve.user_id)
    assert world.broken() == {}
    world.sql("itlc_orders", f"UPDATE outbox SET published_at = {LONG_AGO} WHERE queue = 'erasures'")
    assert world.broken() == {"sent_event_is_consumed": [f"erasure:{eve.user_id}"]}
    receive_all("erasures")


def test_a_version_that_was_left_out(world: World) -> None:
    versions = world.sql("itlc_orders", "SELECT aggregate_version AS v FROM outbox WHERE queue = 'projects' ORDER BY 1")
    assert len(versions) >= 3
    world.sql("itlc_orders", "DELETE FROM outbox WHERE queue = 'projects' AND aggregate_version = 2")
    assert world.broken() == {"versions_have_no_gaps": [f"project:{world.project}"]}


def test_the_first_version_that_was_not_told(world: World) -> None:
    world.sql("itlc_orders", "DELETE FROM outbox WHERE queue = 'projects' AND aggregate_version = 1")
    assert world.broken() == {"versions_have_no_gaps": [f"project:{world.project}"]}
    world.sql("itlc_orders", "UPDATE orders SET created_at = now() - interval '15 days'")  # it may have been purged
    assert world.broken() == {}


def test_the_last_version_that_was_not_told(world: World) -> None:
    world.sql(
        "itlc_orders",
        "DELETE FROM outbox WHERE queue = 'projects' "
        "AND aggregate_version = (SELECT max(aggregate_version) FROM outbox WHERE queue = 'projects')",
    )
    assert world.broken() == {"versions_have_no_gaps": [f"project:{world.project}"]}


def test_an_event_that_says_two_things(world: World) -> None:
    (row,) = world.sql("itlc_orders", "SELECT * FROM outbox WHERE queue = 'notifications' ORDER BY created_at LIMIT 1")
    insert = (
        "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) "
        "VALUES (:id, :queue, :type, :aggregate, CAST(:payload AS jsonb), now())"
    )
    same = {name: row[name] for name in ("id", "queue", "type", "aggregate")}
    world.sql("itlc_tokens", insert, **same, payload=json.dumps(row["payload"]))
    assert world.broken() == {}
    world.sql("itlc_api", insert, **same, payload=json.dumps({"message": "something else"}))
    assert world.broken() == {"event_has_one_payload": [f"event:{row['id']}"]}


@pytest.mark.parametrize(
    "change",
    [
        "payload = jsonb_set(payload, '{orders,0,tokens}', '7')",
        "type = 'release'",
        "aggregate = 'payment:7'",
        "aggregate_version = 1",
    ],
)
def test_a_consumed_event_that_says_something_else_now(world: World, change: str) -> None:
    (row,) = world.sql("itlc_orders", f"UPDATE outbox SET {change} WHERE type = 'collect' RETURNING id")
    assert world.broken() == {"event_has_one_payload": [f"event:{row['id']}"]}


def test_what_was_understood_of_an_event_is_something_else(world: World) -> None:
    (row,) = world.sql(
        "itlc_orders",
        "UPDATE inbox SET fingerprint = sha256('') WHERE message_id = "
        "(SELECT id FROM outbox WHERE queue = 'notifications' ORDER BY id LIMIT 1) RETURNING message_id AS id",
    )
    assert world.broken() == {"event_has_one_payload": [f"event:{row['id']}"]}
    world.sql("itlc_orders", "UPDATE inbox SET fingerprint = NULL")  # as of what was applied before it was noted
    assert world.broken() == {}


@pytest.mark.parametrize("change", ["payload", "type", "aggregate", "aggregate_version", "no JSON"])
def test_a_consumed_event_of_a_document_that_says_something_else_now(world: World, change: str) -> None:
    sent = world.stores.mongo["itlc_pbfr"]["sent_events"]
    (event_id, said) = next((row["_id"], row["event"]) for row in sent.find() if '"type":"rated"' in row["event"])
    turned = json.dumps(dict(reversed(json.loads(said).items())), indent=1)
    sent.update_one({"_id": event_id}, {"$set": {"event": turned}})
    assert world.broken() == {}, "it says the same, spelled in another way"
    other = said[:-1] if change == "no JSON" else json.dumps({**json.loads(said), change: 7})
    sent.update_one({"_id": event_id}, {"$set": {"event": other}})
    assert world.broken() == {"event_has_one_payload": [f"event:{event_id}"]}


def test_a_consumed_event_of_the_graph_that_says_something_else_now(world: World) -> None:
    said = {"actor_id": world.admin.user_id, "action": "add_step", "before": None, "after": {"step": 3}}
    act = event("audit", "act", "order:1", said)
    neo4j.graph.write(lambda transaction: transaction.emit(act))
    drain()
    assert world.broken() == {}
    world.stores.graph("MATCH (e:SentEvent {id: $id}) SET e.event = replace(e.event, 'add', 'remove')", id=act.id)
    assert world.broken() == {"event_has_one_payload": [f"event:{act.id}"]}


# Kept answers


def key_of(world: World, operation: str, key: str, who: As) -> str:
    """How the key of somebody's request is named."""
    return f"key:{json.dumps([f'user:{who.user_id}', operation, key])}"


@pytest.mark.parametrize("change", ["body = NULL", "body = ''", "headers = NULL", "body = '{'"])
def test_a_finished_key_without_its_answer(world: World, change: str) -> None:
    world.sql("itlc_orders", f"UPDATE idempotency_keys SET {change} WHERE operation = 'pay_project'")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "pay_project", "p", world.ada)]}


def test_a_finished_key_without_what_it_created(world: World) -> None:
    world.sql("itlc_tokens", """UPDATE idempotency_keys SET body = '{"id": 4711}' WHERE operation = 'top_up'""")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "top_up", "t", world.ada)]}


def test_a_settled_payment_whose_key_has_no_answer(world: World) -> None:
    world.sql("itlc_orders", "UPDATE idempotency_keys SET status = NULL WHERE operation = 'pay_project'")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "pay_project", "p", world.ada)]}


def test_documents_and_nodes_with_keys_without_answers(world: World) -> None:
    world.stores.mongo["itlc_pbfr"]["projects"].update_many({}, {"$unset": {"idempotency.answer.body": ""}})
    world.stores.graph("MATCH (k:IdempotencyKey) REMOVE k.answer")
    keys = [key_of(world, "create_project", "c", world.ada), key_of(world, "add_step", "s", world.bob)]
    assert world.broken() == {"finished_key_has_its_answer": keys}


def test_somebody_who_was_told_twice(world: World) -> None:
    with world.without("itlc_orders", "notifications_once"):
        (row,) = world.sql(
            "itlc_orders",
            "INSERT INTO notifications (user_id, message, about, event_id) "
            "SELECT user_id, message, about, event_id FROM notifications WHERE id = 1 RETURNING id",
        )
        assert world.broken() == {"one_notification_per_event": [f"notification:{row['id']}"]}


def notification_of(world: World, where: str) -> int:
    """The id of a notification to Bob or Ada whose event one of the stores has sent."""
    if where == "neo4j":
        neo4j.graph.write(lambda graph: graph.emit(notice("order:1", "A step is done.", users=[world.ada.user_id])))
        drain()
    event_ids = [row["id"] for row in world.stores.graph("MATCH (e:SentEvent) RETURN e.id AS id")]
    if where == "itlc_pbfr":
        event_ids = [document["_id"] for document in world.stores.documents("sent_events")]
    elif where != "neo4j":
        sql = "SELECT id FROM outbox WHERE queue = 'notifications'"
        event_ids = [str(row["id"]) for row in world.sql(where, sql)]
    told = world.sql("itlc_orders", "SELECT id, event_id FROM notifications ORDER BY id")
    return next(int(row["id"]) for row in told if str(row["event_id"]) in event_ids)


@pytest.mark.parametrize("where", ["itlc_orders", "itlc_tokens", "itlc_pbfr", "neo4j"])
@pytest.mark.parametrize("change", ["user_id = :root", "about = 'order:4711'", "message = 'Something else.'"])
def test_somebody_who_was_told_what_no_event_tells_them(world: World, where: str, change: str) -> None:
    told = notification_of(world, where)
    assert world.broken() == {}
    values = {"root": world.admin.user_id} if ":root" in change else {}
    world.sql("itlc_orders", f"UPDATE notifications SET {change} WHERE id = :id", id=told, **values)
    assert world.broken() == {"one_notification_per_event": [f"notification:{told}"]}


def test_somebody_who_was_told_of_an_event_that_tells_nobody_anything(world: World) -> None:
    with world.without("itlc_orders", "notifications_once"):
        world.sql(
            "itlc_orders",
            "UPDATE notifications SET (event_id, about) = (SELECT id, aggregate FROM outbox WHERE queue = 'projects' "
            "LIMIT 1) WHERE id = 1",
        )
        (told,) = world.sql("itlc_orders", "SELECT event_id, about, message, user_id FROM notifications WHERE id = 1")
        say = {"message": told["message"], "user_ids": [told["user_id"]], "emails": []}
        world.sql("itlc_orders", "INSERT INTO inbox VALUES ('deliver_notifications', :id)", id=told["event_id"])
        world.sql(
            "itlc_orders",
            "UPDATE outbox SET payload = CAST(:say AS jsonb) WHERE id = :id",
            say=json.dumps(say),
            id=told["event_id"],
        )
        assert world.broken() == {"one_notification_per_event": ["notification:1"]}


def test_a_notification_that_was_copied(world: World) -> None:
    copied = (
        "INSERT INTO notifications (user_id, message, about, event_id, created_at) SELECT user_id, message, about, "
        "gen_random_uuid(), now() - CAST(:ago AS interval) FROM notifications WHERE id = 1 RETURNING id"
    )
    world.sql("itlc_orders", copied, ago="30 days")  # its event may have been forgotten since
    assert world.broken() == {}
    (row,) = world.sql("itlc_orders", copied, ago="28 days")
    assert world.broken() == {"one_notification_per_event": [f"notification:{row['id']}"]}


def test_who_has_an_address_is_not_known_for_ever_but_who_acts_is_not_told(world: World) -> None:
    actor, address = world.bob.user_id, ["ada@example.org"]
    neo4j.graph.write(lambda graph: graph.emit(notice("order:1", "Done.", emails=address, actor_id=actor)))
    drain()
    readdress = "UPDATE notifications SET user_id = :to WHERE message = 'Done.' RETURNING id"
    (told,) = world.sql("itlc_orders", readdress, to=world.admin.user_id)
    assert world.broken() == {}
    world.sql("itlc_orders", readdress, to=actor)
    assert world.broken() == {"one_notification_per_event": [f"notification:{told['id']}"]}


def test_a_notification_may_be_deleted_by_whom_it_told(world: World) -> None:
    theirs = "SELECT id FROM notifications WHERE user_id = :bob LIMIT 1"
    (told,) = world.sql("itlc_orders", theirs, bob=world.bob.user_id)
    assert world.bob.call("delete_notification", notification_id=told["id"]).status == 204
    assert world.broken() == {}
