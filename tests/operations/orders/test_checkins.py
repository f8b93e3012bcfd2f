"""Checking in, as its operations do it, on real stores."""

import pytest

from tests.support.calling import As, Response, nobody
from tests.support.market import order_in
from tests.support.racing import at_once
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)
NOTICES = "SELECT payload FROM outbox WHERE queue = 'notifications' AND payload->>'message' LIKE :message"
PROJECT = "665f1f77bcf86cd799439011"


def report(order_id: int, status: str, caller: As = bob, note: str | None = None) -> Response:
    """Bob, or another, checks in."""
    return caller.call("check_in", {"status": status, **({"note": note} if note else {})}, order_id=order_id)


def notices(stores: Stores, message: str = "%") -> list[tuple[str, list[int]]]:
    """What was emitted for whom."""
    rows = stores.rows("itlc_orders", NOTICES + " ORDER BY created_at", message=message)
    return [(row["payload"]["message"], row["payload"]["user_ids"]) for row in rows]


def test_the_provider_checks_in_and_the_order_moves(stores: Stores) -> None:
    order = order_in("created", ada, bob)
    seen = []
    for status in ("started", "in_progress", "blocked", "in_progress", "completed"):
        answer = report(order, status, note=f"{status}!")
        assert answer.status == 201
        assert (answer["order_id"], answer["status"], answer["note"]) == (order, status, f"{status}!")
        seen.append((status, ada.call("read_order", order_id=order)["status"]))
    assert seen == [
        ("started", "in_progress"),
        ("in_progress", "in_progress"),
        ("blocked", "in_progress"),
        ("in_progress", "in_progress"),
        ("completed", "completed"),
    ]
    kept = stores.rows("itlc_orders", "SELECT status, note FROM checkins ORDER BY id")
    assert [row["status"] for row in kept] == [status for status, _ in seen]
    assert ada.call("read_order", order_id=order)["completed_at"] is not None
    assert notices(stores, f"Order {order}:%") == [
        (f"Order {order}: the work has started.", [1]),
        (f"Order {order}: the work goes on.", [1]),
        (f"Order {order}: the work is blocked.", [1]),
        (f"Order {order}: the work goes on.", [1]),
        (f"Order {order}: the work is completed.", [1]),
    ]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("created", "in_progress"),
        ("created", "blocked"),
        ("created", "completed"),
        ("in_progress", "started"),
        ("completed", "started"),
        ("completed", "in_progress"),
        ("completed", "completed"),
        ("paid", "in_progress"),
        ("cancelled", "started"),
    ],
)
def test_an_illegal_move_is_a_conflict_and_changes_nothing(stores: Stores, state: str, status: str) -> None:
    order = order_in(state, ada, bob)
    before = stores.rows("itlc_orders", "SELECT * FROM orders"), stores.rows("itlc_orders", "SELECT * FROM checkins")
    refused = report(order, status)
    assert (refused.status, refused["type"]) == (409, "urn:itlc:problem:conflict")
    assert f"the order is {state}" in refused["detail"]
    assert "ossible now" in refused["detail"]
    after = stores.rows("itlc_orders", "SELECT * FROM orders"), stores.rows("itlc_orders", "SELECT * FROM checkins")
    assert before == after


def test_who_may_check_in(stores: Stores) -> None:
    order = order_in("created", ada, bob)
    assert nobody.call("check_in", {"status": "started"}, order_id=order).status == 401
    assert report(order, "started", ada).status == 403
    assert report(order, "started", eve).status == 404
    assert report(order + 1, "started").status == 404
    assert stores.rows("itlc_orders", "SELECT * FROM checkins") == []
    assert report(order, "started").status == 201
    assert stores.rows("itlc_orders", "SELECT * FROM audit") == []


def test_an_administrator_checks_in_for_the_provider_on_record(stores: Stores) -> None:
    order = order_in("created", ada, bob)
    assert report(order, "started", root).status == 201
    (entry,) = stores.rows("itlc_orders", "SELECT * FROM audit")
    assert (entry["actor_id"], entry["action"], entry["object"]) == (9, "check_in", f"order:{order}")
    assert (entry["before"], entry["after"]) == ({"status": "created"}, {"status": "in_progress"})
    assert notices(stores, "%has started%") == [(f"Order {order}: the work has started.", [1, 2])]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "status"),
        ({"status": "done"}, "status"),
        ({"status": 1}, "status"),
        ({"status": "started", "note": " "}, "note"),
        ({"status": "started", "percent": 5}, "percent"),
    ],
)
def test_a_bad_checkin_is_refused_by_field(stores: Stores, body: dict[str, object], field: str) -> None:
    refused = bob.call("check_in", body, order_id=order_in("created", ada, bob))
    assert refused.status == 422
    assert [error["field"] for error in refused["errors"]] == [field]


def test_a_repeated_key_checks_in_once(stores: Stores) -> None:
    order = order_in("in_progress", ada, bob)
    first = bob.call("check_in", {"status": "in_progress"}, key="k", order_id=order)
    again = bob.call("check_in", {"status": "in_progress"}, key="k", order_id=order)
    assert (again.text, again.headers["Idempotency-Replayed"]) == (first.text, "true")
    assert len(stores.rows("itlc_orders", "SELECT * FROM checkins")) == 2


def test_checkins_are_read_oldest_first_by_both_parties(stores: Stores) -> None:
    order = order_in("in_progress", ada, bob)
    ids = [1, *(report(order, "in_progress")["id"] for _ in range(4))]
    for reader in (ada, bob, root):
        pages = list(reader.pages("list_checkins", query={"limit": 2}, order_id=order))
        assert [[item["id"] for item in page] for page in pages] == [ids[:2], ids[2:4], ids[4:]]
    assert eve.call("list_checkins", order_id=order).status == 404
    assert nobody.call("list_checkins", order_id=order).status == 401


def test_of_many_who_complete_at_once_one_does(stores: Stores) -> None:
    order = order_in("in_progress", ada, bob, project_id=PROJECT)
    answers = at_once(report, [(order, "completed")] * 8)
    assert sorted(answer.status for answer in answers) == [201, *[409] * 7]
    assert [row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM checkins ORDER BY id")] == [
        "started",
        "completed",
    ]
    assert len(notices(stores, "%completed%")) == 1
    (progress,) = stores.rows("itlc_orders", "SELECT status, version FROM project_progress")
    assert progress == {"status": "completed", "version": 2}


def cancel_or_complete(order_id: int, cancels: bool) -> Response:
    """Ada cancels, or Bob completes."""
    if cancels:
        return ada.call("cancel_order", {"reason": "Too late."}, order_id=order_id)
    return report(order_id, "completed")


@pytest.mark.parametrize("_", range(3))
def test_of_cancelling_and_completing_at_once_one_happens(stores: Stores, _: int) -> None:
    order = order_in("in_progress", ada, bob, project_id=PROJECT)
    answers = at_once(cancel_or_complete, [(order, number % 2 == 0) for number in range(8)])
    won = [answer for answer in answers if answer.status in (200, 201)]
    assert len(won) == 1
    assert {answer.status for answer in answers if answer not in won} == {409}
    (row,) = stores.rows("itlc_orders", "SELECT status, cancelled_at, completed_at FROM orders")
    cancelled = won[0].status == 200
    assert row["status"] == ("cancelled" if cancelled else "completed")
    assert (row["cancelled_at"] is not None, row["completed_at"] is not None) == (cancelled, not cancelled)
    (progress,) = stores.rows("itlc_orders", "SELECT status FROM project_progress")
    assert progress["status"] == ("open" if cancelled else "completed")


def complete(order_id: int) -> int:
    """Bob completes one order."""
    return report(order_id, "completed").status


def test_orders_of_one_project_that_change_at_once_are_counted_rightly(stores: Stores) -> None:
    orders = [order_in("in_progress", ada, bob, project_id=PROJECT) for _ in range(8)]
    assert at_once(complete, [(order,) for order in orders]) == [201] * 8
    (progress,) = stores.rows("itlc_orders", "SELECT project_id, owner_id, status, version FROM project_progress")
    assert progress == {"project_id": PROJECT, "owner_id": 1, "status": "completed", "version": 2}
    events = stores.rows("itlc_orders", "SELECT payload, aggregate_version FROM outbox WHERE queue = 'projects'")
    told = sorted((event["aggregate_version"], event["payload"]["status"]) for event in events)
    assert told == [(1, "in_progress"), (2, "completed")]
