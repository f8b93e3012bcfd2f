"""Leaving: what stands against it, what is gone at once, what the job takes out of the seven stores."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from itlc.accounts import erasure
from itlc.bids import personal_data as bids
from itlc.errors import StoreAway
from itlc.orders import personal_data as orders
from itlc.stores import postgres
from itlc.stores.postgres import DATABASES
from sqlalchemy import event as on

from tests.support.calling import As, deliver, nobody
from tests.support.leaving import (
    EMAIL,
    NAME,
    PROFILE,
    STORES,
    WRITTEN,
    Life,
    away,
    full_life,
    other_open_bid,
    places_with,
)
from tests.support.market import open_bid, order_in, service_of
from tests.support.money import holder, ledger_holds, payable
from tests.support.people import PASSWORD, bearer, email_of, person, signed_in
from tests.support.queues import dead_letters, drain, receive_all
from tests.support.racing import at_once
from tests.support.stack import Stores

TRACES = (NAME, EMAIL, PROFILE, WRITTEN, "lovelace")


def message(user_id: int | None, type: str = "erase") -> str:
    """What the queue `erasures` carries."""
    fields = {"schema": 1, "type": type, "aggregate": f"user:{user_id}", "payload": {"user_id": user_id}}
    return json.dumps({**fields, "id": str(uuid.uuid4()), "created_at": "2026-11-23T20:36:10+00:00"})


def leave(somebody: As) -> None:
    """They leave, and the job runs, both times."""
    assert somebody.call("erase_me").status == 202
    drain()
    assert deliver("erase_user", message(somebody.user_id, "erase_again")) == []
    drain()


def one(stores: Stores, database: str, sql: str, **parameters: Any) -> dict[str, Any]:
    (row,) = stores.rows(database, sql, **parameters)
    return row


# What stands against it


@pytest.mark.parametrize("status", ["created", "in_progress", "paying"])
@pytest.mark.parametrize("party", ["customer", "provider"])
def test_with_an_order_under_way_nobody_leaves(stores: Stores, status: str, party: str) -> None:
    ada, bob = holder("Ada"), holder("Bob")
    first = order_in("paid", ada, bob)
    order_id = order_in(status, ada, bob) if party == "customer" else order_in(status, bob, ada)
    refused = ada.call("erase_me")
    assert refused.status == 409
    assert refused["detail"] == f"Settle your orders first: {order_id} ({status})."
    assert first != order_id
    assert ada.call("read_me").status == 200
    assert stores.rows("itlc_orders", "SELECT * FROM closed_accounts") == []
    assert receive_all("erasures") == []


def test_who_has_still_to_pay_does_not_leave_and_all_orders_are_named(stores: Stores) -> None:
    ada, bob = holder("Ada"), holder("Bob")
    to_pay, begun, waivable = (
        order_in("completed", ada, bob),
        order_in("created", ada, bob),
        order_in("completed", bob, ada),
    )
    refused = ada.call("erase_me")
    assert (refused.status, refused["detail"]) == (
        409,
        f"Settle your orders first: {to_pay} (to be paid), {begun} (created).",
    )
    assert one(stores, "itlc_orders", "SELECT status FROM orders WHERE id = :id", id=waivable)["status"] == "completed"


def test_it_needs_a_session_that_lives_and_the_version_that_was_seen(stores: Stores) -> None:
    ada = person("Ada")
    assert nobody.call("erase_me").status == 401
    assert ada.call("erase_me", headers={"If-Match": '"old"'}).status == 412
    assert ada.call("erase_me", {"sure": True}).status == 422
    assert ada.call("sign_out").status == 204
    assert ada.call("erase_me").status == 401
    assert one(stores, "itlc_users", "SELECT erased_at FROM users")["erased_at"] is None


# What is gone at once


def test_at_once_the_account_is_empty_and_shut(stores: Stores) -> None:
    pair = nobody.call("register_user", {"name": "Ada", "email": email_of("Ada"), "password": PASSWORD})
    assert pair.status == 201
    signed = nobody.call("sign_in", {"email": email_of("Ada"), "password": PASSWORD})
    ada = bearer(signed["access_token"])
    seen = ada.call("read_me").headers["ETag"]
    assert nobody.call("request_password_reset", {"email": email_of("Ada")}).status == 202
    gone = ada.call("erase_me", headers={"If-Match": seen})
    assert (gone.status, gone.text) == (202, "")

    assert nobody.call("sign_in", {"email": email_of("Ada"), "password": PASSWORD}).status == 401
    assert nobody.call("refresh_session", {"refresh_token": signed["refresh_token"]}).status == 401
    assert ada.call("change_me", {"name": "Eve"}).status == 401
    assert ada.call("erase_me").status == 401
    assert ada.call("export_me").status == 401
    assert ada.call("pay_order", key="k", order_id=1).status == 401
    assert ada.call("read_me").status == ada.call("show_balance").status == 401
    row = one(stores, "itlc_users", "SELECT * FROM users")
    assert (row["name"], row["email"], row["password"], row["tokens"]) == ("(erased)", "erased-1@invalid", "erased", 0)
    assert row["erased_at"] is not None
    assert [s["end_reason"] for s in stores.rows("itlc_users", "SELECT * FROM sessions")] == ["erased"]
    for table in ("refresh_tokens", "password_resets", "known_addresses"):
        assert stores.rows("itlc_users", f"SELECT * FROM {table}") == [], table
    assert nobody.call("register_user", {"name": "Eve", "email": email_of("Ada"), "password": PASSWORD}).status == 201


def test_what_is_left_goes_to_the_house(stores: Stores) -> None:
    ada = holder("Ada", 70)
    leave(ada)
    transfers = stores.rows("itlc_users", "SELECT * FROM transfers WHERE kind = 'forfeit'")
    assert [(t["debit_account"], t["credit_account"], t["tokens"]) for t in transfers] == [
        (f"user:{ada.user_id}", "house:forfeit", 70)
    ]
    actions = stores.rows("itlc_users", "SELECT action, actor_id FROM audit WHERE object = :o", o=f"user:{ada.user_id}")
    assert {(a["action"], a["actor_id"]) for a in actions} == {("forfeit", ada.user_id), ("erase_me", ada.user_id)}
    ledger_holds(stores)


def test_an_administrator_who_left_is_none_any_more(stores: Stores) -> None:
    ada = holder("Ada", admin=True)
    assert ada.call("list_audit").status == 200
    assert ada.call("erase_me").status == 202
    assert ada.call("list_audit").status == 401


# What the job does


def test_nothing_of_the_person_is_left_in_any_store(stores: Stores) -> None:
    life = full_life()
    before = places_with(stores, *TRACES)
    for place in ("itlc_users.users", "itlc_users.idempotency_keys", "itlc_users.outbox", "itlc_api.providers"):
        assert place in before, "there was something to erase"
    for place in ("itlc_orders.bidding", "itlc_orders.checkins", "itlc_orders.orders", "itlc_orders.idempotency_keys"):
        assert place in before, place
    for place in ("projects", "blogs", "faqs", "ratings", "reviews", "bookkeeping"):
        assert f"itlc_pbfr.{place}" in before or place == "bookkeeping", place
    assert {"neo4j.OrderStep", "neo4j.IdempotencyKey", "neo4j.SentEvent"} <= set(before)
    told = {"user_ids": life.ada.user_id}
    stores.mongo["itlc_pbfr"]["sent_events"].insert_one({"_id": "of a review", **told, "event": NAME})

    assert life.ada.call("erase_me").status == 202
    drain()
    assert places_with(stores, *TRACES) == ["itlc_users.erasures"], "what the second run needs, and nothing else"
    assert delayed() == 1
    assert deliver("erase_user", message(life.ada.user_id, "erase_again")) == []
    drain()
    assert places_with(stores, *TRACES) == []
    for database in DATABASES:
        sql = "SELECT * FROM idempotency_keys WHERE caller = :caller"
        assert stores.rows(database.name, sql, caller=f"user:{life.ada.user_id}") == [], database.name
    assert stores.documents("sent_events", told) == []
    assert stores.graph("MATCH (e:SentEvent) WHERE $id IN e.user_ids RETURN e", id=life.ada.user_id) == []
    assert stores.documents("bookkeeping", {"idempotency.caller": f"user:{life.ada.user_id}"}) == []
    ledger_holds(stores)


def test_however_much_there_is_of_a_person_it_all_goes_a_batch_at_a_time(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, batch in ((erasure, "BATCH"), (erasure, "PAGE"), (bids, "BATCH"), (orders, "BATCH")):
        monkeypatch.setattr(module, batch, 1)
    life = full_life()
    assert life.ada.call("write_faq", {"question": "Another?", "answer": "Yes."}, key="another").status == 201
    told = {"user_ids": life.ada.user_id}
    stores.mongo["itlc_pbfr"]["sent_events"].insert_many([{"_id": f"notice {n}", **told, "event": NAME} for n in "ab"])
    with taken_out(postgres.orders) as changed:
        leave(life.ada)
    assert changed
    assert max(changed) == 1, "one order, or one bid, in each transaction"
    assert places_with(stores, *TRACES) == []
    assert stores.rows("itlc_orders", "SELECT * FROM project_progress WHERE owner_id = :id", id=life.ada.user_id) == []
    for table, whose in (("orders", "user_id"), ("bidding", "bidder_id")):
        of_projects = f"SELECT id FROM {table} WHERE {whose} = :id AND project_id IS NOT NULL"
        assert stores.rows("itlc_orders", of_projects, id=life.ada.user_id) == [], table
    assert stores.documents("sent_events", told) == []
    for collection in ("projects", "blogs", "faqs", "ratings", "reviews", "bookkeeping"):
        assert stores.documents(collection, {"idempotency.caller": f"user:{life.ada.user_id}"}) == [], collection


def delayed() -> int:
    """How many messages the queue `erasures` keeps back."""
    from itlc.aws import client

    name = "ApproximateNumberOfMessagesDelayed"
    url = os.environ["ITLC_QUEUE_ERASURES"]
    return int(client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def test_what_stays_tells_of_the_work_and_not_of_the_person(stores: Stores) -> None:
    life = full_life()
    mark = one(stores, "itlc_api", "SELECT * FROM services WHERE name = 'Digging'")["rating_average"]
    leave(life.ada)

    service = nobody.call("read_service", service_id=life.service_id)
    assert (service["status"], service["name"]) == ("withdrawn", "Gardening by …")
    assert service["description"] == "Ask for … or write to …."
    provider_id = service["provider_id"]
    assert nobody.call("read_provider", provider_id=provider_id).status == 404
    assert provider_id not in [p["id"] for p in nobody.call("list_providers")["items"]]

    order = life.grace.call("read_order", order_id=life.bought_id)
    assert (order["status"], order["user_id"], order["project_id"]) == ("paid", life.ada.user_id, None)
    steps = life.grace.call("list_steps", order_id=life.bought_id)["items"]
    assert [(s["description"], s["notified_personnel"]) for s in steps] == [
        ("Ask … first", ["nobody@example.org"]),
        ("Part 2", []),
    ]
    (note,) = stores.rows(
        "itlc_orders", "SELECT note FROM checkins WHERE order_id = :id AND note IS NOT NULL", id=life.bought_id
    )
    assert note["note"] == "… was happy."

    digging = one(stores, "itlc_api", "SELECT * FROM services WHERE name = 'Digging'")
    assert (digging["rating_count"], digging["rating_average"]) == (1, mark)
    (rating,) = nobody.call("list_service_ratings", service_id=digging["id"])["items"]
    assert (rating["rating"], rating["review"]) == (4, None)
    assert nobody.call("list_service_reviews", service_id=digging["id"])["items"] == []
    topup = one(stores, "itlc_tokens", "SELECT * FROM token_topups WHERE id = :id", id=life.topup_id)
    assert (topup["status"], topup["failure"]) == ("failed", "the account is gone")


def test_open_bids_end_completed_orders_are_waived_and_others_are_told(stores: Stores) -> None:
    life = full_life()
    another = other_open_bid(life)
    assert life.bob.call("read_project", project_id=life.bobs_project)["status"] == "completed"
    leave(life.ada)

    def status(bid_id: int) -> str:
        return str(one(stores, "itlc_orders", "SELECT status FROM bidding WHERE id = :id", id=bid_id)["status"])

    assert [status(b) for b in (life.open_bid_id, life.received_bid_id, another)] == [
        "withdrawn",
        "rejected",
        "rejected",
    ]
    bid = life.bob.call("read_bid", bid_id=life.received_bid_id)
    assert bid["message"] == "Dear …, can you come on Monday?"
    order = life.bob.call("read_order", order_id=life.waived_id)
    assert (order["status"], order["cancelled_by"], order["cancel_reason"]) == ("cancelled", life.ada.user_id, None)
    assert order["cancelled_at"] is not None
    assert life.bob.call("read_project", project_id=life.bobs_project)["status"] == "open"
    told = [n["message"] for n in life.bob.call("list_notifications", query={"limit": 100})["items"]]
    assert f"Order {life.waived_id} was cancelled: its provider has left, and nothing is to be paid." in told
    assert len([m for m in told if "was rejected: the other side has left" in m]) == 2
    grace_told = [n["message"] for n in life.grace.call("list_notifications", query={"limit": 100})["items"]]
    assert len([m for m in grace_told if "was withdrawn: the other side has left" in m]) == 1
    audited = one(stores, "itlc_orders", "SELECT * FROM audit WHERE action = 'erase_me'")
    assert (audited["object"], audited["before"]) == (f"order:{life.waived_id}", {"status": "completed"})


def test_however_many_orders_are_waived_leaving_takes_few_statements_and_sends_few_messages(stores: Stores) -> None:
    ada, bob = holder("Ada"), holder("Bob")
    many = {"ada": ada.user_id, "bob": bob.user_id, "rows": 450}
    stores.rows(
        "itlc_orders",
        "INSERT INTO orders (user_id, service_id, amount, status, project_id, bid_id, provider_id, provider_user_id) "
        "SELECT :bob, 1, 10, 'completed', lpad(to_hex(n), 24, '0'), n, 1, :ada FROM generate_series(1, :rows) n",
        **many,
    )
    stores.rows(
        "itlc_orders",
        "INSERT INTO project_progress (project_id, owner_id, status, version) "
        "SELECT project_id, user_id, 'completed', bid_id FROM orders",
    )
    with statements(postgres.orders) as asked:
        assert ada.call("erase_me").status == 202
    assert len(asked) < 40
    assert stores.rows(
        "itlc_orders",
        "SELECT count(*) AS rows, count(*) FILTER (WHERE status = 'cancelled' AND cancelled_by = :ada "
        "AND cancelled_at IS NOT NULL AND updated_at >= cancelled_at) AS waived FROM orders",
        ada=ada.user_id,
    ) == [{"rows": 450, "waived": 450}]
    told = "Order {id} was cancelled: its provider has left, and nothing is to be paid."
    notices = stores.rows("itlc_orders", "SELECT aggregate, payload FROM outbox WHERE queue = 'notifications'")
    assert {row["aggregate"]: row["payload"]["message"] for row in notices} == {
        f"order:{id}": told.format(id=id) for id in range(1, 451)
    }
    assert all(row["payload"]["user_ids"] == [bob.user_id] for row in notices)
    progress = stores.rows("itlc_orders", "SELECT * FROM outbox WHERE queue = 'projects'")
    assert {row["aggregate"]: (row["payload"]["status"], row["aggregate_version"]) for row in progress} == {
        f"project:{id:024x}": ("open", id + 1) for id in range(1, 451)
    }
    audited = stores.rows("itlc_orders", "SELECT object, before, after FROM audit WHERE action = 'erase_me'")
    assert {row["object"] for row in audited} == {f"order:{id}" for id in range(1, 451)}
    assert all((a["before"], a["after"]) == ({"status": "completed"}, {"status": "cancelled"}) for a in audited)
    assert len(receive_all("erasures")) == 1, "it is sent first, whatever waits for the relay"
    sent = "SELECT count(*) AS rows FROM outbox WHERE published_at IS NOT NULL"
    assert stores.rows("itlc_orders", sent) == [{"rows": 100}]


@contextmanager
def taken_out(database: postgres.Database) -> Iterator[list[int]]:
    """How many rows each of the statements changed meanwhile that took somebody out of orders and bids."""
    changed: list[int] = []
    texts = re.compile(r"UPDATE (orders|bidding) SET (cancel_reason|message|project_id)=")

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if texts.match(statement):
            changed.append(cursor.rowcount)

    on.listen(database.engine, "after_cursor_execute", note)
    try:
        yield changed
    finally:
        on.remove(database.engine, "after_cursor_execute", note)


@contextmanager
def statements(database: postgres.Database) -> Iterator[list[str]]:
    """What is asked of a database meanwhile."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    on.listen(database.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        on.remove(database.engine, "before_cursor_execute", note)


def test_of_the_answers_to_registrations_only_those_that_anyone_got_are_looked_into(stores: Stores) -> None:
    body = {"name": "Ada", "email": email_of("Ada"), "password": PASSWORD}
    assert nobody.call("register_user", body, key="k").status == 201
    kept = {"caller": "user:4711", "body": "what never was an answer"}
    stores.rows(
        "itlc_users",
        "INSERT INTO idempotency_keys (caller, operation, key, fingerprint, status, body, expires_at) "
        "VALUES (:caller, 'register_user', 'k', 'f', 201, :body, now() + interval '1 hour')",
        **kept,
    )
    ada = signed_in("Ada")
    leave(ada)
    assert stores.rows("itlc_users", "SELECT caller, body FROM idempotency_keys") == [kept]


def test_others_keep_what_is_theirs(stores: Stores) -> None:
    life = full_life()
    faq = {"question": "On Sundays?", "answer": "No."}
    assert life.grace.call("write_faq", faq, key="k").status == 201
    kept = [
        life.grace.call("export_me").json,
        life.bob.call("export_me").json,
    ]
    leave(life.ada)
    for before, who in zip(kept, (life.grace, life.bob), strict=True):
        after = who.call("export_me").json
        for place in ("user", "transfers"):
            assert after["itlc_users"][place] == before["itlc_users"][place]
        assert after["itlc_pbfr"]["faqs"] == before["itlc_pbfr"]["faqs"]
        assert len(after["itlc_orders"]["orders"]) == len(before["itlc_orders"]["orders"])
        assert len(after["itlc_orders"]["notifications"]) >= len(before["itlc_orders"]["notifications"])
        assert len(after["neo4j"]["steps"]) == len(before["neo4j"]["steps"])
    assert life.grace.call("write_faq", faq, key="k").headers["Idempotency-Replayed"] == "true"


def test_running_the_job_again_changes_nothing(stores: Stores) -> None:
    life = full_life()
    leave(life.ada)

    def held() -> list[Any]:
        tables = ("itlc_users.users", "itlc_users.transfers", "itlc_api.services", "itlc_orders.orders")
        rows = [sorted(map(str, stores.rows(*_place(table)))) for table in (*tables, "itlc_orders.bidding")]
        return [*rows, stores.documents("ratings"), stores.graph("MATCH (s:OrderStep) RETURN s ORDER BY s.id")]

    before = held()
    for type in ("erase", "erase_again", "erase"):
        assert deliver("erase_user", message(life.ada.user_id, type)) == []
    assert drain() == 0, "nobody is told twice"
    assert held() == before


def _place(table: str) -> tuple[str, str]:
    database, name = table.split(".")
    return database, f"SELECT * FROM {name}"


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_is_away_gets_its_turn_when_it_is_back(stores: Stores, store: str) -> None:
    life = full_life()
    assert life.ada.call("erase_me").status == 202
    (body,) = receive_all("erasures")
    with away(store):
        assert deliver("erase_user", body) == ["message-0"]
        assert deliver("erase_user", body, receives=4) == [], "it is put off: it never becomes a dead letter"
    assert (delayed(), dead_letters("erasures")) == (1, [])
    left = places_with(stores, *TRACES)
    assert "itlc_users.erasures" in left, "what it needs to go on is kept"
    if store != "itlc_users":
        # Without the profile's address, or the orders' ids, the plans can't be searched for all of it yet.
        waits = (store, "neo4j") if store in ("itlc_api", "itlc_orders") else (store,)
        assert [place for place in left if not place.startswith(("itlc_users.erasures", *waits))] == []
    assert deliver("erase_user", body) == []
    drain()
    assert places_with(stores, *TRACES) == ["itlc_users.erasures"]
    ledger_holds(stores)


def test_a_profile_that_could_not_be_read_is_erased_when_it_can_be(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = full_life()
    assert life.ada.call("erase_me").status == 202
    (body,) = receive_all("erasures")

    def refuse(*_: Any) -> Any:
        raise StoreAway("itlc_api")

    with monkeypatch.context() as patch:
        patch.setattr(postgres.catalog, "read", refuse)
        assert deliver("erase_user", body) == ["message-0"]
    assert deliver("erase_user", body) == []
    drain()
    assert places_with(stores, *TRACES) == ["itlc_users.erasures"]


def test_when_the_users_store_fails_after_the_account_was_closed_the_job_does_it(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = holder("Ada", 5)
    write = postgres.users.write

    def refuse(*_: Any) -> Any:
        raise StoreAway("itlc_users")

    monkeypatch.setattr(postgres.users, "write", refuse)
    assert ada.call("erase_me").status == 202
    monkeypatch.setattr(postgres.users, "write", write)
    assert one(stores, "itlc_users", "SELECT erased_at FROM users")["erased_at"] is None
    drain()
    row = one(stores, "itlc_users", "SELECT * FROM users")
    assert row["erased_at"] is not None
    assert row["tokens"] == 0
    ledger_holds(stores)


def test_what_a_token_wrote_that_had_not_run_out_goes_the_second_time(stores: Stores) -> None:
    ada = holder("Ada", 500)
    (order_id,) = payable(ada, holder("Bob"), "120.00")
    assert ada.call("pay_order", key="pay", order_id=order_id).status == 201
    assert ada.call("rate_order", {"rating": 5}, order_id=order_id).status == 200
    assert ada.call("erase_me").status == 202
    drain()
    project = ada.call("create_project", {"name": WRITTEN, "description": WRITTEN}, key="late")
    assert project.status == 201, "access tokens are checked without a store"
    assert ada.call("rate_order", {"rating": 1, "review": WRITTEN}, order_id=order_id).status == 200
    assert places_with(stores, WRITTEN) == ["itlc_pbfr.projects", "itlc_pbfr.ratings"]
    assert ada.call("top_up", {"amount": 5}, key="late").status == 202
    drain()
    assert deliver("erase_user", message(ada.user_id, "erase_again")) == []
    assert places_with(stores, WRITTEN) == []
    late = "SELECT status FROM token_topups ORDER BY id DESC LIMIT 1"
    assert one(stores, "itlc_tokens", late)["status"] == "failed"
    assert delayed() == 1, "the second time is the last"


def test_nobody_is_erased_whose_account_was_not_closed(stores: Stores) -> None:
    ada = holder("Ada", 5)
    assert deliver("erase_user", message(ada.user_id)) == []
    (letter,) = dead_letters("erasures")
    assert letter["reason"] == f"the account of user {ada.user_id} was never closed"
    assert one(stores, "itlc_users", "SELECT name, tokens FROM users") == {"name": "Ada", "tokens": 5}


# Nothing slips in between


def test_a_closed_account_gets_no_bids_and_no_orders(stores: Stores) -> None:
    ada, bob = holder("Ada"), holder("Bob")
    hers, his = service_of(ada), service_of(bob)
    her_bid, his_bid = open_bid(ada, his), open_bid(bob, hers)
    assert ada.call("erase_me").status == 202
    assert ada.call("place_bid", {"amount": 5}, service_id=his).status == 409
    assert bob.call("place_bid", {"amount": 5}, service_id=hers).status == 409
    assert bob.call("make_order", bid_id=her_bid).status == 409
    assert ada.call("make_order", bid_id=his_bid).status == 409
    assert stores.rows("itlc_orders", "SELECT * FROM orders") == []
    assert len(stores.rows("itlc_orders", "SELECT * FROM bidding")) == 2


def test_leaving_and_taking_the_bid_at_once(stores: Stores) -> None:
    people = [(holder(f"Customer {n}"), holder(f"Provider {n}")) for n in range(6)]
    bids = [open_bid(customer, service_of(provider)) for customer, provider in people]
    calls: list[tuple[Any, ...]] = [(customer.user_id, customer.session_id, "erase_me", {}) for customer, _ in people]
    calls += [
        (provider.user_id, provider.session_id, "make_order", {"bid_id": bid})
        for (_, provider), bid in zip(people, bids, strict=True)
    ]
    statuses = at_once(call_as, calls)
    for n in range(6):
        left, made = statuses[n], statuses[n + 6]
        assert (left, made) in {(202, 409), (409, 201)}, "one of the two, never both"
    drain()
    erased = {row["id"] for row in stores.rows("itlc_users", "SELECT id FROM users WHERE erased_at IS NOT NULL")}
    open_orders = stores.rows("itlc_orders", "SELECT user_id FROM orders WHERE status = 'created'")
    assert not erased & {row["user_id"] for row in open_orders}


def call_as(user_id: int, session_id: str, operation: str, ids: dict[str, Any]) -> int:
    """For races: one call, and its status."""
    return As(user_id, session_id=session_id).call(operation, **ids).status


def test_leaving_several_times_at_once_is_leaving_once(stores: Stores) -> None:
    ada = holder("Ada", 9)
    statuses = at_once(call_as, [(ada.user_id, ada.session_id, "erase_me", {})] * 4)
    assert set(statuses) <= {202, 401}
    assert 202 in statuses
    drain()
    assert len(stores.rows("itlc_users", "SELECT * FROM transfers WHERE kind = 'forfeit'")) == 1
    ledger_holds(stores)


# Messages that can't be


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (message(4711), "the account of user 4711 was never closed"),
        (message(1, "forget"), "the queue erasures knows the types erase and erase_again, not 'forget'"),
        (message(None), "the payload of an erasure is one user_id"),
        (message(2**31), "the payload of an erasure is one user_id"),
        ("{", "the message is not JSON"),
    ],
)
def test_a_message_that_names_nobody_is_a_dead_letter(stores: Stores, body: str, reason: str) -> None:
    assert deliver("erase_user", body) == []
    (letter,) = dead_letters("erasures")
    assert letter == {"body": body, "reason": reason}


def test_erasing_knows_whose_traces_to_look_for(stores: Stores) -> None:
    life: Life = full_life()
    assert life.ada.call("erase_me").status == 202
    drain()
    row = one(stores, "itlc_users", "SELECT * FROM erasures")
    assert set(row["names"]) == {NAME, PROFILE}
    assert set(row["emails"]) == {EMAIL, "Gardens@lovelace.example"}
