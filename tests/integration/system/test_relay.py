"""The relay sends what the nudge after a commit could not, from every outbox; a store that is away stops no other."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from itlc import aws, events
from itlc.errors import StoreAway
from itlc.events import Event, event
from itlc.settings import settings
from itlc.stores import mongo, neo4j, outbox, postgres
from itlc.system import relay

from infra.local.resend import send_again
from infra.local.stack import Endpoints
from tests.support.calling import run_scheduled
from tests.support.stack import Stores


@pytest.fixture
def no_nudge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent after a commit, as when the queue was away at that moment."""
    monkeypatch.setattr(events, "send_now", lambda emitted, published: None)


def said(text: str) -> Event:
    return event("notifications", "notice", "order:1", {"message": text})


def wait_everywhere(stores: Stores) -> set[str]:
    """One event in each of the seven stores, its first claim run out; returns their ids."""
    waiting = set()
    for database in postgres.DATABASES:
        one = said(database.name)
        database.write(lambda db, one=one: outbox.emit(db, one))  # type: ignore[misc]
        waiting.add(one.id)
        stores.rows(database.name, "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    one = said("itlc_pbfr")
    entry = {**mongo.outbox_entry(one), "claimed_until": datetime.now(UTC) - timedelta(seconds=1)}
    stores.mongo["itlc_pbfr"]["projects"].insert_one({"name": "a", "outbox": [entry]})
    waiting.add(one.id)
    one = said("neo4j")
    neo4j.graph.write(lambda transaction: transaction.emit(one))
    stores.graph("MATCH (o:Outbox) SET o.claimed_until = datetime() - duration({seconds: 1})")
    return waiting | {one.id}


def received() -> list[dict[str, Any]]:
    """Every message of the queue, taken out of it."""
    url = settings().queues["notifications"]
    found: list[dict[str, Any]] = []
    while messages := aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.mark.usefixtures("no_nudge")
def test_what_waits_in_any_store_is_sent_once(stores: Stores) -> None:
    waiting = wait_everywhere(stores)
    assert run_scheduled("relay_outbox") == {"sent": 7, "unsent": 0, "failed": 0}
    messages = received()
    assert {message["id"] for message in messages} == waiting
    assert len(messages) == len(waiting)
    assert run_scheduled("relay_outbox") == {"sent": 0, "unsent": 0, "failed": 0}
    for database in postgres.DATABASES:
        assert stores.rows(database.name, "SELECT id FROM outbox WHERE published_at IS NULL") == []
    assert stores.documents("projects")[0]["outbox"] == []
    assert stores.graph("MATCH (o:Outbox) RETURN o.id AS id") == []


@pytest.mark.usefixtures("no_nudge")
def test_what_was_in_a_killed_emulators_queues_is_sent_again_from_every_store(
    stores: Stores, endpoints: Endpoints
) -> None:
    waiting = wait_everywhere(stores)
    assert run_scheduled("relay_outbox")["sent"] == 7
    before = {message["id"]: message for message in received()}
    stores.mongo["itlc_pbfr"]["projects"].delete_many({})
    said_so: list[str] = []
    send_again(endpoints, said_so.append)
    assert said_so == ["AWS emulator: its queues were lost; 7 events that nobody had consumed are sent again"]
    assert run_scheduled("relay_outbox") == {"sent": 7, "unsent": 0, "failed": 0}
    again = received()
    assert len(again) == len(waiting)
    for message in again:  # each waits since it was to be sent again
        assert {**message, "created_at": ""} == {**before[message["id"]], "created_at": ""}


@pytest.mark.usefixtures("no_nudge")
def test_what_was_consumed_or_can_be_in_no_queue_any_more_is_not_sent_again(
    stores: Stores, endpoints: Endpoints
) -> None:
    consumed = wait_everywhere(stores)
    assert run_scheduled("relay_outbox")["sent"] == 7
    for id in consumed:
        stores.rows("itlc_orders", "INSERT INTO inbox (consumer, message_id) VALUES ('a consumer', :id)", id=id)
    wait_everywhere(stores)
    assert run_scheduled("relay_outbox")["sent"] == 7
    for database in postgres.DATABASES:
        stores.rows(database.name, "UPDATE outbox SET published_at = published_at - interval '14 days'")
    earlier = datetime.now(UTC) - timedelta(days=14)
    stores.mongo["itlc_pbfr"]["sent_events"].update_many({}, {"$set": {"published_at": earlier}})
    stores.graph("MATCH (e:SentEvent) SET e.published_at = datetime() - duration({days: 14})")
    said_so: list[str] = []
    send_again(endpoints, said_so.append)
    assert said_so == []
    assert len(received()) == 14
    assert run_scheduled("relay_outbox")["sent"] == 0


@pytest.mark.usefixtures("no_nudge")
def test_of_those_who_keep_no_inbox_only_what_may_be_missing_is_sent_again(
    stores: Stores, endpoints: Endpoints
) -> None:
    emitted = [event("projects", "progressed", f"project:{about}", {}, version=v) for about in "ab" for v in (1, 2)]
    emitted += [event("erasures", "erase", f"user:{user_id}", {"user_id": user_id}) for user_id in (7, 8)]
    for one in emitted:
        postgres.orders.write(lambda db, one=one: outbox.emit(db, one))  # type: ignore[misc]
    stores.rows("itlc_orders", "UPDATE outbox SET published_at = now()")
    stores.rows("itlc_users", "INSERT INTO users (id, name, email, password) VALUES (8, '-', 'gone', '-')")
    stores.rows("itlc_users", "INSERT INTO erasures (user_id, names, emails) VALUES (8, '{}', '{}')")
    send_again(endpoints, lambda _: None)
    rows = stores.rows("itlc_orders", "SELECT id::text AS id FROM outbox WHERE published_at IS NULL")
    assert {row["id"] for row in rows} == {emitted[number].id for number in (1, 3, 5)}


@pytest.mark.usefixtures("no_nudge")
def test_what_is_claimed_by_another_is_left_to_it(stores: Stores) -> None:
    postgres.orders.write(lambda db: outbox.emit(db, said("just written")))
    postgres.orders.write(lambda db: outbox.emit_all(db, [said("just written"), said("with it")]))
    neo4j.graph.write(lambda transaction: transaction.emit(said("just written")))
    mongo.projects.write(lambda db: db.create({"name": "Garden"}, dict, said("just written")))
    assert run_scheduled("relay_outbox") == {"sent": 0, "unsent": 0, "failed": 0}
    assert received() == []


@pytest.mark.usefixtures("no_nudge")
def test_a_store_is_swept_no_longer_than_what_was_refused_stays_claimed(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        postgres.orders.write(lambda db, text=str(number): outbox.emit(db, said(text)))  # type: ignore[misc]
    let_claims_run_out(stores)
    monkeypatch.setattr(relay, "BATCH", 1)
    monkeypatch.setattr(relay, "AFTER_REFUSAL_SECONDS", -1)
    monkeypatch.setattr(events, "send", lambda waiting: set())
    assert run_scheduled("relay_outbox") == {"sent": 0, "unsent": 1, "failed": 1}


@pytest.mark.usefixtures("no_nudge")
def test_a_backlog_of_several_batches_is_sent(stores: Stores) -> None:
    def emit(db: Any) -> None:
        for number in range(250):
            outbox.emit(db, said(str(number)))

    postgres.orders.write(emit)
    stores.rows("itlc_orders", "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    assert run_scheduled("relay_outbox")["sent"] == 250
    assert len({message["id"] for message in received()}) == 250


@pytest.mark.usefixtures("no_nudge")
@pytest.mark.parametrize("away", ["itlc_orders", "itlc_pbfr", "neo4j"])
def test_a_store_that_is_away_does_not_stop_the_others(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise StoreAway(away)

    waiting = wait_everywhere(stores)
    with monkeypatch.context() as patched:
        match away:
            case "itlc_orders":
                patched.setattr(postgres.orders, "write", fail)
            case "itlc_pbfr":
                patched.setattr(mongo.DocumentStore, "read", fail)
            case _:
                patched.setattr(neo4j.graph, "write", fail)
        assert run_scheduled("relay_outbox") == {"sent": 6, "unsent": 0, "failed": 1}
    assert run_scheduled("relay_outbox") == {"sent": 1, "unsent": 0, "failed": 0}
    assert {message["id"] for message in received()} == waiting


@pytest.mark.usefixtures("no_nudge")
def test_what_the_queue_does_not_take_waits_for_the_next_time(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    one = event("notifications", "notice", "order:1", {"message": "a"}, id=uuid.uuid4())
    postgres.users.write(lambda db: outbox.emit(db, one))
    stores.rows("itlc_users", "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    with monkeypatch.context() as patched:
        patched.setattr(events, "send", lambda waiting: set())
        assert run_scheduled("relay_outbox") == {"sent": 0, "unsent": 1, "failed": 1}
    (row,) = stores.rows("itlc_users", "SELECT published_at, attempts, claimed_until > now() AS claimed FROM outbox")
    assert row == {"published_at": None, "attempts": 1, "claimed": True}
    stores.rows("itlc_users", "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    assert run_scheduled("relay_outbox")["sent"] == 1


def let_claims_run_out(stores: Stores) -> None:
    """As if half a minute had passed."""
    for database in postgres.DATABASES:
        stores.rows(database.name, "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    stores.graph("MATCH (o:Outbox) SET o.claimed_until = datetime() - duration({seconds: 1})")
    past = datetime.now(UTC) - timedelta(seconds=1)
    waiting = {"outbox.id": {"$exists": True}}
    stores.mongo["itlc_pbfr"]["projects"].update_many(waiting, {"$set": {"outbox.$[].claimed_until": past}})


def taking_one(patch: pytest.MonkeyPatch) -> None:
    """Of all that the queues are sent at once, they take the first message."""
    send = events.send
    patch.setattr(events, "send", lambda waiting: send(waiting[:1]))


@pytest.mark.usefixtures("no_nudge")
def test_what_a_queue_took_goes_and_what_it_refused_stays(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = wait_everywhere(stores) | wait_everywhere(stores)
    with monkeypatch.context() as patched:
        taking_one(patched)
        assert run_scheduled("relay_outbox") == {"sent": 7, "unsent": 7, "failed": 7}
    taken = {message["id"] for message in received()}
    assert len(taken) == 7
    let_claims_run_out(stores)
    assert run_scheduled("relay_outbox") == {"sent": 7, "unsent": 0, "failed": 0}
    assert {message["id"] for message in received()} == waiting - taken


def emit_in_postgres(first: Event, second: Event) -> None:
    """Two events of one transaction."""

    def emit(db: Any) -> None:
        outbox.emit(db, first)
        outbox.emit(db, second)

    postgres.orders.write(emit)


def emit_in_mongo(first: Event, second: Event) -> None:
    """Two events of one document."""
    mongo.projects.write(lambda db: db.create({"name": "Garden"}, dict, first, second))


def emit_in_neo4j(first: Event, second: Event) -> None:
    """Two events of one transaction."""

    def emit(transaction: neo4j.GraphTransaction) -> None:
        transaction.emit(first)
        transaction.emit(second)

    neo4j.graph.write(emit)


@pytest.mark.parametrize("emit", [emit_in_postgres, emit_in_mongo, emit_in_neo4j])
def test_what_a_queue_refused_right_after_the_commit_is_left_to_the_relay(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, emit: Callable[[Event, Event], None]
) -> None:
    first, second = said("first"), said("second")
    with monkeypatch.context() as patched:
        taking_one(patched)
        emit(first, second)
    assert [message["id"] for message in received()] == [first.id]
    let_claims_run_out(stores)
    assert run_scheduled("relay_outbox") == {"sent": 1, "unsent": 0, "failed": 0}
    assert [message["id"] for message in received()] == [second.id]


def refusing(queue: str) -> Callable[..., Any]:
    """In the place of `itlc.events._send_batch`: what this queue is sent, it refuses, as a whole."""
    as_it_is = events._send_batch

    def send(to: str, batch: Any) -> set[str]:
        if to == queue:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessageBatch")
        return as_it_is(to, batch)

    return send


@pytest.mark.usefixtures("no_nudge")
def test_a_queue_that_refuses_all_holds_up_no_other_however_much_waits_for_it(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = said("behind them")

    def emit(db: Any) -> None:
        for number in range(120):  # more than are claimed at a time
            outbox.emit(db, event("topups", "credit", f"topup:{number}", {}))
        outbox.emit(db, good)

    postgres.orders.write(emit)
    stores.rows("itlc_orders", "UPDATE outbox SET claimed_until = now() - interval '2 minutes' WHERE queue = 'topups'")
    stores.rows(
        "itlc_orders", "UPDATE outbox SET claimed_until = now() - interval '1 minute' WHERE id = :id", id=good.id
    )
    monkeypatch.setattr(events, "_send_batch", refusing("topups"))
    assert run_scheduled("relay_outbox") == {"sent": 1, "unsent": 120, "failed": 1}
    assert [message["id"] for message in received()] == [good.id]
    tried = stores.rows("itlc_orders", "SELECT DISTINCT queue, attempts, published_at IS NULL AS waits FROM outbox")
    assert {(row["queue"], row["attempts"], row["waits"]) for row in tried} == {
        ("topups", 1, True),
        ("notifications", 1, False),
    }


@pytest.mark.usefixtures("no_nudge")
def test_a_collection_that_cannot_be_swept_holds_up_no_other(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    one = said("of a review")
    entry = {**mongo.outbox_entry(one), "claimed_until": datetime.now(UTC) - timedelta(seconds=1)}
    stores.mongo["itlc_pbfr"]["reviews"].insert_one({"review": "a", "outbox": [entry]})
    as_it_is = mongo.relay

    def fail(documents: Any, limit: int) -> tuple[int, int]:
        if documents.name == "projects":
            raise RuntimeError("projects")
        return as_it_is(documents, limit)

    monkeypatch.setattr(mongo, "relay", fail)
    assert run_scheduled("relay_outbox") == {"sent": 1, "unsent": 0, "failed": 1}
    assert [message["id"] for message in received()] == [one.id]


@pytest.mark.usefixtures("no_nudge")
def test_when_the_queues_are_away_each_store_tries_once_and_none_is_called_away(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = wait_everywhere(stores)
    tried: list[str] = []

    def gone(queue: str, batch: Any) -> set[str]:
        tried.append(queue)
        raise EndpointConnectionError(endpoint_url="http://queues")

    with monkeypatch.context() as patched:
        patched.setattr(events, "_send_batch", gone)
        assert run_scheduled("relay_outbox") == {"sent": 0, "unsent": 7, "failed": 7}
    assert len(tried) == len(waiting)


@pytest.mark.usefixtures("no_nudge")
def test_an_event_that_cannot_be_read_keeps_no_other_from_being_sent(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = wait_everywhere(stores)
    past = datetime.now(UTC) - timedelta(seconds=1)
    for name, kept in (("of a later version", '{"queue": "topups", "colour": "red"}'), ("spoilt", "{")):
        entry = {"id": name, "event": kept, "created_at": past, "claimed_until": past}
        stores.mongo["itlc_pbfr"]["projects"].insert_one({"name": name, "outbox": [entry]})
        stores.graph(
            "CREATE (:Outbox {id: $id, event: $event, created_at: datetime('2020-01-01'), "
            "claimed_until: datetime() - duration({seconds: 1})})",
            id=name,
            event=kept,
        )
    assert run_scheduled("relay_outbox")["failed"] == 0
    assert {message["id"] for message in received()} == waiting
    unread = [record for record in caplog.records if record.message == "an event that waits cannot be read"]
    assert sorted({getattr(record, "event_id", "") for record in unread}) == ["of a later version", "spoilt"]
