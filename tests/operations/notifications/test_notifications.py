"""What users are told and what they do with it, as the operations do it, on real stores."""

import json
import uuid
from typing import Any

import pytest
from itlc.notices import notice
from itlc.notifications import service

from tests.support.calling import As, deliver, nobody, run_scheduled
from tests.support.market import member, open_bid, order_in, service_of
from tests.support.queues import dead_letters, drain
from tests.support.racing import at_once
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


@pytest.fixture(autouse=True)
def _accounts(stores: Stores) -> None:
    """Ada, Bob and Eve have accounts, with these ids."""
    assert [member(name).user_id for name in ("Ada", "Bob", "Eve")] == [1, 2, 3]


def tell(*users: int, message: str = "Hello.", **more: Any) -> str:
    """Deliver a notice; returns its message's body."""
    body = notice("order:1", message, users=users, **more).body()
    assert deliver("deliver_notifications", body) == []
    return body


def told(stores: Stores) -> list[tuple[int, str]]:
    """Who was told what."""
    rows = stores.rows("itlc_orders", "SELECT user_id, message FROM notifications ORDER BY id")
    return [(row["user_id"], row["message"]) for row in rows]


def test_what_happens_reaches_those_concerned(stores: Stores) -> None:
    service = service_of(bob)
    ada.call("place_bid", {"amount": 10}, service_id=service)
    ada.call("place_bid", {"amount": 20}, service_id=service)
    ada.call("withdraw_bid", bid_id=1)
    order = bob.call("make_order", bid_id=2)["id"]
    bob.call("check_in", {"status": "started"}, order_id=order)
    ada.call("cancel_order", {"reason": "A secret."}, order_id=order)
    drain()
    heard = {
        name: [item["message"] for item in who.call("list_notifications")["items"]]
        for name, who in (("ada", ada), ("bob", bob), ("eve", eve))
    }
    assert set(heard["ada"]) == {
        f"Your bid of 20.00 on service {service} was taken: it is order {order} now.",
        f"Order {order}: the work has started.",
    }
    assert set(heard["bob"]) == {
        "New bid of 10.00 on your service “Gardening”.",
        "New bid of 20.00 on your service “Gardening”.",
        f"The bid of 10.00 on service {service} was withdrawn.",
        f"Order {order} was cancelled. The order says why.",
    }
    assert (len(heard["ada"]), len(heard["bob"]), heard["eve"]) == (2, 4, [])


def test_a_notice_is_delivered_once_to_each_person(stores: Stores) -> None:
    body = tell(1, 2, emails=["ADA@example.org", "eve@Example.org", "stranger@example.org"], actor_id=2)
    assert told(stores) == [(1, "Hello."), (3, "Hello.")]
    assert deliver("deliver_notifications", body, body) == []
    assert len(told(stores)) == 2
    (row, _) = stores.rows("itlc_orders", "SELECT * FROM notifications ORDER BY id")
    assert (row["about"], str(row["event_id"]), row["read_status"]) == ("order:1", json.loads(body)["id"], False)


@pytest.mark.parametrize(
    "change",
    [
        {"payload": {"message": "Hello!", "user_ids": [1], "emails": [], "actor_id": None}},
        {"payload": {"message": "Hello.", "user_ids": [2], "emails": [], "actor_id": None}},
        {"aggregate": "order:2"},
        {"aggregate_version": 1},
    ],
    ids=["another message", "another user", "another order", "another version"],
)
def test_an_id_that_comes_again_with_something_else_is_no_repetition(stores: Stores, change: dict[str, Any]) -> None:
    body = tell(1)
    other = json.dumps({**json.loads(body), **change})
    assert deliver("deliver_notifications", other, body) == []
    assert told(stores) == [(1, "Hello.")]
    (dead,) = dead_letters("notifications")
    assert dead == {"body": other, "reason": "another message with this id was applied before, and said something else"}


def test_a_message_that_is_spelled_in_another_way_is_the_same(stores: Stores) -> None:
    event = json.loads(tell(1, message="\N{SNOWMAN} and \\."))
    turned = {**event, "payload": dict(reversed(event["payload"].items())), "request_id": "another"}
    assert deliver("deliver_notifications", json.dumps(turned, ensure_ascii=False, indent=1)) == []
    assert (len(told(stores)), dead_letters("notifications")) == (1, [])


def test_what_was_applied_before_anybody_noted_what_it_said_is_taken_for_the_same(stores: Stores) -> None:
    body = tell(1)
    stores.rows("itlc_orders", "UPDATE inbox SET fingerprint = NULL")
    assert deliver("deliver_notifications", body, json.dumps({**json.loads(body), "aggregate": "order:2"})) == []
    assert (told(stores), dead_letters("notifications")) == ([(1, "Hello.")], [])


def test_a_notice_is_delivered_once_though_its_message_is_forgotten(stores: Stores) -> None:
    body = tell(1, 2)
    stores.rows("itlc_orders", "DELETE FROM inbox")  # as `purge_expired` does, in time
    assert deliver("deliver_notifications", body) == []
    assert told(stores) == [(1, "Hello."), (2, "Hello.")]


def test_what_was_deleted_does_not_come_back_with_a_message_that_comes_again(stores: Stores) -> None:
    body = tell(1)
    assert ada.call("delete_notification", notification_id=1).status == 204
    assert deliver("deliver_notifications", body) == []
    assert told(stores) == []


def test_whoever_acts_is_not_told_even_by_address(stores: Stores) -> None:
    tell(2, emails=["ada@example.org"], actor_id=1)
    assert told(stores) == [(2, "Hello.")]


@pytest.mark.parametrize(
    "bad", ["İ".lower() * 33 + "@example.org", "nobody", "nul\0@example.org", "half a \ud83d sign", ""]
)
def test_what_is_no_address_keeps_nobody_else_from_being_told(stores: Stores, bad: str) -> None:
    tell(2, emails=[bad, "ada@example.org"])
    assert told(stores) == [(1, "Hello."), (2, "Hello.")]
    assert dead_letters("notifications") == []


def test_the_erased_are_passed_over(stores: Stores) -> None:
    stores.rows("itlc_users", "UPDATE users SET erased_at = now() WHERE id = 1")
    tell(1, 2, emails=["ada@example.org"])
    assert told(stores) == [(2, "Hello.")]
    assert dead_letters("notifications") == []


def receive(body: str) -> list[str]:
    """Deliver one message, in whichever process."""
    return deliver("deliver_notifications", body)


def test_a_message_delivered_many_times_at_once_takes_effect_once(stores: Stores) -> None:
    body = notice("order:1", "Hello.", users=[1, 2]).body()
    assert at_once(receive, [(body,)] * 8) == [[]] * 8
    assert told(stores) == [(1, "Hello."), (2, "Hello.")]


PAYLOAD = {"message": "Hello.", "user_ids": [1], "emails": [], "actor_id": None}


def changed(**fields: Any) -> str:
    """A message like one for Ada, but for these fields."""
    payload = {**PAYLOAD, **fields.pop("payload", {})}
    event = json.loads(notice("order:1", "Hello.", users=[1]).body())
    return json.dumps({**event, "payload": payload, **fields})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("Hello.", "the message is not JSON"),
        (changed(type="greeting"), "knows the type notice, not greeting"),
        (changed(schema=2), "schema"),
        (changed(aggregate="x" * 129), "the aggregate is not a name"),
        (changed(aggregate=12), "the aggregate is not a name"),
        (changed(payload={"message": ""}), "the notice is malformed: message"),
        (changed(payload={"message": "nul\0"}), "the notice is malformed: message"),
        (changed(payload={"user_ids": ["1"]}), "the notice is malformed: user_ids.0"),
        (changed(payload={"user_ids": [2**31]}), "the notice is malformed: user_ids.0"),
        (changed(payload={"emails": [7]}), "the notice is malformed: emails.0"),
        (changed(payload={"urgent": True}), "the notice is malformed: urgent"),
        (changed(payload={"user_ids": [1, 77]}), "there never was a user 77"),
    ],
)
def test_what_can_never_be_delivered_goes_to_the_dead_letters_alone(stores: Stores, body: str, reason: str) -> None:
    good = notice("order:2", "After it.", users=[2]).body()
    assert deliver("deliver_notifications", body, good) == []
    assert told(stores) == [(2, "After it.")]
    (dead,) = dead_letters("notifications")
    assert dead["body"] == body
    assert reason in dead["reason"]


def test_notifications_are_read_newest_first_by_their_owner(stores: Stores) -> None:
    for number in range(5):
        tell(1, message=f"News {number}.")
    tell(2)
    pages = list(ada.pages("list_notifications", query={"limit": 2}))
    messages = [[item["message"] for item in page] for page in pages]
    assert messages == [["News 4.", "News 3."], ["News 2.", "News 1."], ["News 0."]]
    first = pages[0][0]
    assert {"user_id": 1, "read_status": False, "about": "order:1"}.items() <= first.items()
    assert first["created_at"].endswith("Z")
    assert nobody.call("list_notifications").status == 401
    assert root.call("list_notifications")["items"] == []


def test_notifications_are_filtered_by_read_status(stores: Stores) -> None:
    for number in range(3):
        tell(1, message=f"News {number}.")
    ada.call("mark_notification", {"read_status": True}, notification_id=2)

    def ids(read_status: str) -> list[int]:
        items = ada.call("list_notifications", query={"read_status": read_status})["items"]
        return [item["id"] for item in items]

    assert (ids("true"), ids("false")) == ([2], [3, 1])
    assert ada.call("list_notifications", query={"read_status": "perhaps"}).status == 422
    assert ada.call("count_unread").json == {"unread_count": 2}
    assert bob.call("count_unread").json == {"unread_count": 0}
    assert nobody.call("count_unread").status == 401


def test_marking_goes_both_ways(stores: Stores) -> None:
    tell(1)
    read = ada.call("mark_notification", {"read_status": True}, notification_id=1)
    assert (read.status, read["read_status"], read["message"]) == (200, True, "Hello.")
    assert ada.call("mark_notification", {}, notification_id=1).json == read.json
    unread = ada.call("mark_notification", {"read_status": False}, notification_id=1)
    assert (unread.status, unread["read_status"]) == (200, False)
    for body in ({"read_status": "yes"}, {"read_status": None}, {"message": "Bye."}):
        assert ada.call("mark_notification", body, notification_id=1).status == 422
    stale = {"If-Match": read.headers["ETag"]}
    assert ada.call("mark_notification", {"read_status": True}, headers=stale, notification_id=1).status == 412
    assert ada.call("delete_notification", headers=stale, notification_id=1).status == 412


def test_all_are_marked_in_batches(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BATCH", 2)
    for _ in range(3):
        tell(1, 2)
    marked = ada.call("mark_all_read")
    assert (marked.status, marked.json) == (200, {"unread_count": 0})
    assert bob.call("count_unread").json == {"unread_count": 3}
    assert ada.call("mark_all_read", {"before": 3}).status == 422
    assert nobody.call("mark_all_read").status == 401


def test_a_deleted_notification_is_gone(stores: Stores) -> None:
    tell(1)
    tell(1)
    assert ada.call("delete_notification", notification_id=1).status == 204
    assert ada.call("delete_notification", notification_id=1).status == 404
    assert [item["id"] for item in ada.call("list_notifications")["items"]] == [2]


def test_anothers_notification_is_not_there(stores: Stores) -> None:
    tell(1)
    assert bob.call("mark_notification", {"read_status": True}, notification_id=1).status == 404
    assert bob.call("delete_notification", notification_id=1).status == 404
    assert nobody.call("delete_notification", notification_id=1).status == 401
    assert ada.call("list_notifications")["items"][0]["read_status"] is False


def test_an_administrator_acts_on_record(stores: Stores) -> None:
    tell(1)
    assert root.call("mark_notification", {"read_status": True}, notification_id=1).status == 200
    assert root.call("delete_notification", notification_id=1).status == 204
    entries = stores.rows("itlc_orders", "SELECT actor_id, action, object FROM audit ORDER BY id")
    assert [(entry["actor_id"], entry["action"], entry["object"]) for entry in entries] == [
        (9, "mark_notification", "notification:1"),
        (9, "delete_notification", "notification:1"),
    ]


def test_old_read_notifications_are_purged(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BATCH", 2)
    ages = [(90.01, True), (91, True), (365, True), (365, False), (89.99, True), (1, False)]
    for days, read in ages:
        stores.rows(
            "itlc_orders",
            "INSERT INTO notifications (user_id, message, read_status, about, event_id, created_at) "
            "VALUES (1, 'x', :read, 'order:1', :event, now() - interval '1 day' * :days)",
            read=read,
            event=uuid.uuid4(),
            days=days,
        )
    assert run_scheduled("purge_notifications") == {"purged": 3}
    assert [row["id"] for row in stores.rows("itlc_orders", "SELECT id FROM notifications ORDER BY id")] == [4, 5, 6]
    assert run_scheduled("purge_notifications") == {"purged": 0}


def test_expiry_and_rejection_reach_the_bidder(stores: Stores) -> None:
    rejected, old = open_bid(ada, service_of(bob)), open_bid(ada, service_of(bob))
    bob.call("reject_bid", bid_id=rejected)
    stores.rows("itlc_orders", "UPDATE bidding SET created_at = now() - interval '31 days' WHERE id = :id", id=old)
    run_scheduled("expire_bids")
    drain()
    messages = {item["message"] for item in ada.call("list_notifications")["items"]}
    assert messages == {
        "The bid of 120.00 on service 1 was rejected.",
        "Your bid of 120.00 on service 2 has expired after 30 days.",
    }


def test_whoever_cancels_is_not_told(stores: Stores) -> None:
    bob.call("cancel_order", {"reason": "Ill."}, order_id=order_in("in_progress", ada, bob))
    drain()
    assert "Order 1 was cancelled. The order says why." in ada.call("list_notifications").text
    assert "cancelled" not in bob.call("list_notifications").text
