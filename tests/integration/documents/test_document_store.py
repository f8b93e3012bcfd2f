"""What a write in MongoDB promises beyond its document: events that are sent, answers that are kept, no lost change."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from itlc import events
from itlc.errors import Conflict, StoreAway
from itlc.idempotency import Answer, Key, Replayed
from itlc.stores import mongo
from itlc.stores.mongo import Change, Document, DocumentWriter
from pymongo.errors import ExecutionTimeout, WTimeoutError

from tests.support.calling import As
from tests.support.market import order_in, service_of
from tests.support.queues import receive_all
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob = As(1), As(2)
KEY = Key("user:1", "create_project", "k", "-")
LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def queue_away(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The queues take nothing, until the fixture is undone."""

    def refuse(*_: Any) -> set[str]:
        raise ConnectionError("the queue is away")

    monkeypatch.setattr(events, "send", refuse)
    return monkeypatch


def collection(stores: Stores, name: str) -> Any:
    """A collection, as its owner sees it."""
    return stores.mongo["itlc_pbfr"][name]


def let_claims_run_out(stores: Stores, name: str) -> None:
    """As if half a minute had passed."""
    collection(stores, name).update_many(
        {"outbox.id": {"$exists": True}}, {"$set": {"outbox.$[].claimed_until": LONG_AGO}}
    )


def relay(store: mongo.DocumentStore) -> tuple[int, int]:
    """One sweep."""
    with store.read() as documents:
        return mongo.relay(documents)


def relay_ratings(limit: int) -> tuple[int, int]:
    """One sweep, for races."""
    with mongo.ratings.read() as documents:
        return mongo.relay(documents, limit)


def waiting(stores: Stores, name: str) -> list[str]:
    """The types of the events in a collection's outboxes."""
    return [
        json.loads(entry["event"])["type"]
        for document in stores.documents(name)
        for entry in document.get("outbox", [])
    ]


def test_what_could_not_be_sent_is_sent_by_the_relay_once_its_claim_has_run_out(
    stores: Stores, queue_away: pytest.MonkeyPatch
) -> None:
    assert ada.call("rate_order", {"rating": 4}, order_id=order_in("completed", ada, bob)).status == 200
    queue_away.undo()
    assert waiting(stores, "ratings") == ["rated", "notice"]
    assert relay(mongo.ratings) == (0, 0), "still claimed by who wrote it"
    let_claims_run_out(stores, "ratings")
    assert relay(mongo.ratings) == (2, 2)
    assert waiting(stores, "ratings") == []
    assert {json.loads(body)["type"] for body in receive_all("ratings")} == {"rated"}
    assert relay(mongo.ratings) == (0, 0)


def test_of_a_document_only_those_events_are_taken_whose_claim_has_run_out(
    stores: Stores, queue_away: pytest.MonkeyPatch
) -> None:
    assert ada.call("rate_order", {"rating": 4}, order_id=order_in("completed", ada, bob)).status == 200
    queue_away.undo()
    collection(stores, "ratings").update_one({}, {"$set": {"outbox.0.claimed_until": LONG_AGO}})
    assert relay(mongo.ratings) == (1, 1)
    assert waiting(stores, "ratings") == ["notice"]


def test_what_the_queue_does_not_take_waits_for_the_next_sweep(stores: Stores, queue_away: pytest.MonkeyPatch) -> None:
    ada.call("rate_order", {"rating": 4}, order_id=order_in("completed", ada, bob))
    let_claims_run_out(stores, "ratings")
    with pytest.raises(ConnectionError):
        relay(mongo.ratings)
    queue_away.undo()
    assert waiting(stores, "ratings") == ["rated", "notice"]
    let_claims_run_out(stores, "ratings")
    assert relay(mongo.ratings) == (2, 2)


def test_relays_at_once_send_each_event_once(stores: Stores, queue_away: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        ada.call("rate_order", {"rating": 4}, order_id=order_in("completed", ada, bob))
    queue_away.undo()
    let_claims_run_out(stores, "ratings")
    sweeps = at_once(relay_ratings, [(100,)] * 4)
    assert sum(sent for _, sent in sweeps) == 12
    assert len(receive_all("ratings")) == 6
    assert waiting(stores, "ratings") == []


def test_of_two_documents_created_under_one_key_the_first_is_there_and_answers_for_both(stores: Stores) -> None:
    def create(name: str) -> None:
        def work(db: DocumentWriter) -> None:
            mongo.projects.claim(db, KEY, lambda result: Answer(201, name))
            db.create({"name": name}, dict)

        mongo.projects.write(work)

    create("first")
    with pytest.raises(Replayed) as replayed:
        create("second")
    assert replayed.value.answer == Answer(201, "first")
    assert [document["name"] for document in stores.documents("projects")] == ["first"]


def test_a_notice_outlives_the_review_that_it_tells_of(stores: Stores, queue_away: pytest.MonkeyPatch) -> None:
    service = service_of(bob)
    order_in("completed", ada, bob, service_id=service)
    review = ada.call("write_review", {"service_id": service, "review": "Neat."}, key="k")
    (document,) = stores.documents("reviews")
    assert ada.call("delete_review", review_id=review["id"]).status == 204
    queue_away.undo()
    assert (waiting(stores, "reviews"), waiting(stores, "bookkeeping")) == ([], ["notice"])
    let_claims_run_out(stores, "bookkeeping")
    assert relay(mongo.bookkeeping) == (1, 1)
    (kept,) = stores.documents("bookkeeping")
    assert (set(kept), kept["idempotency"]) == ({"_id", "outbox", "idempotency"}, document["idempotency"])
    assert ada.call("write_review", {"service_id": service, "review": "Neat."}, key="k").text == review.text


def test_an_event_outlives_its_document_though_another_keeps_the_same_key(
    stores: Stores, queue_away: pytest.MonkeyPatch
) -> None:
    service = service_of(bob)
    order_in("completed", ada, bob, service_id=service)
    review = ada.call("write_review", {"service_id": service, "review": "Neat."}, key="k")
    (document,) = stores.documents("reviews")
    collection(stores, "bookkeeping").insert_one({"idempotency": document["idempotency"]})
    assert ada.call("delete_review", review_id=review["id"]).status == 204
    assert (stores.documents("reviews"), waiting(stores, "bookkeeping")) == ([], ["notice"])


def test_spent_keys_go_and_what_is_left_of_the_deleted_with_them(stores: Stores) -> None:
    body = {"name": "Garden", "description": "Roses."}
    kept = ada.call("create_project", body, key="kept")["id"]
    gone = ada.call("create_project", body, key="gone")["id"]
    ada.call("delete_project", project_id=gone)
    ada.call("create_project", {**body, "service_ids": [7]}, key="refused")
    ada.call("create_project", body, key="fresh")
    for name in ("projects", "bookkeeping"):
        spent = {"idempotency.key": {"$regex": "kept|gone|refused"}}
        collection(stores, name).update_many(spent, {"$set": {"idempotency.expires_at": LONG_AGO}})
    purged = {}
    for store in (mongo.projects, mongo.bookkeeping):
        with store.read() as documents:
            purged[store.collection] = mongo.purge_keys(documents, 10)
    assert purged == {"projects": 1, "bookkeeping": 2}
    assert stores.documents("bookkeeping") == []
    with_key = {str(project["_id"]): "idempotency" in project for project in stores.documents("projects")}
    assert (len(with_key), with_key[kept], sum(with_key.values())) == (2, False, 1)


def test_bookkeeping_keeps_what_still_waits(stores: Stores) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    collection(stores, "bookkeeping").insert_many(
        [
            {"_id": "with_key", "idempotency": {"key": "k", "expires_at": soon}},
            {"_id": "with_event", "outbox": [{"id": "e", "claimed_until": soon}]},
            {"_id": "empty", "outbox": []},
            {"_id": "nothing"},
        ]
    )
    with mongo.bookkeeping.read() as documents:
        assert [mongo.purge_keys(documents, 1) for _ in range(3)] == [1, 1, 0]
    assert {document["_id"] for document in stores.documents("bookkeeping")} == {"with_key", "with_event"}


def test_what_a_deletion_keeps_is_not_swept_away_with_what_an_earlier_attempt_left(
    stores: Stores, queue_away: pytest.MonkeyPatch
) -> None:
    service = service_of(bob)
    order_in("completed", ada, bob, service_id=service)
    review = ada.call("write_review", {"service_id": service, "review": "Neat."})
    collection(stores, "bookkeeping").insert_one({"_id": ObjectId(review["id"]), "outbox": []})
    some_ids = mongo._some_ids

    def and_then_the_review_goes(*found: Any) -> list[Any]:
        ids = some_ids(*found)
        if ids:
            assert ada.call("delete_review", review_id=review["id"]).status == 204
        return ids

    queue_away.setattr(mongo, "_some_ids", and_then_the_review_goes)
    with mongo.bookkeeping.read() as documents:
        assert mongo.purge_keys(documents, 10) == 1
    assert waiting(stores, "bookkeeping") == ["notice"]


def test_a_deletion_meets_a_change_made_in_the_meantime(stores: Stores) -> None:
    project_id = ObjectId(ada.call("create_project", {"name": "Garden", "description": "Roses."})["id"])
    seen: list[str] = []

    def allow(document: Document) -> None:
        seen.append(document["name"])
        if len(seen) == 1:
            ada.call("change_project", {"name": "Park"}, project_id=str(project_id))

    mongo.projects.write(lambda db: db.remove({"_id": project_id}, "project", allow))
    assert seen == ["Garden", "Park"], "it was asked again, about the changed one"
    assert stores.documents("projects") == []


def test_a_change_that_always_comes_too_late_is_refused_in_the_end(stores: Stores) -> None:
    project_id = ObjectId(ada.call("create_project", {"name": "Garden", "description": "Roses."})["id"])

    def overtaken(document: Document) -> Change:
        collection(stores, "projects").update_one({"_id": project_id}, {"$inc": {"version": 1}})
        return Change({"name": "Park"})

    def change(db: DocumentWriter) -> Document:
        return db.change({"_id": project_id}, "project", overtaken)

    with pytest.raises(Conflict, match="try again"):
        mongo.projects.write(change)
    assert stores.documents("projects")[0]["name"] == "Garden"


def count_up(project_id: str) -> int:
    """For races: add one to what the document says."""

    def more(document: Document) -> Change:
        return Change({"counter": document.get("counter", 0) + 1})

    changed = mongo.projects.write(lambda db: db.change({"_id": ObjectId(project_id)}, "project", more))
    return int(changed["counter"])


def test_what_each_of_many_read_and_wrote_adds_up(stores: Stores) -> None:
    project_id = ada.call("create_project", {"name": "Garden", "description": "Roses."})["id"]
    counts = at_once(count_up, [(project_id,)] * workers())
    assert sorted(counts) == list(range(1, workers() + 1))


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("error", [WTimeoutError("no majority has it"), ExecutionTimeout("it took too long")])
def test_what_was_not_done_in_time_may_be_asked_for_again(error: Exception) -> None:
    with pytest.raises(StoreAway), mongo.projects.read():
        raise error
