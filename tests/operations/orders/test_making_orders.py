"""Turning bids into orders, as the operations do it, on real stores."""

import pytest

from tests.operations.orders.test_checkins import notices
from tests.support.calling import As, Response, nobody
from tests.support.market import member, open_bid, project_of, service_of
from tests.support.racing import at_once
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


@pytest.fixture(autouse=True)
def _accounts(stores: Stores) -> None:
    """Ada, Bob and Eve have accounts, with these ids."""
    assert [member(name).user_id for name in ("Ada", "Bob", "Eve")] == [1, 2, 3]


def take(bid_id: int, caller: As = bob) -> Response:
    """Bob, or another, takes a bid."""
    return caller.call("make_order", bid_id=bid_id)


def test_the_provider_takes_a_bid(stores: Stores) -> None:
    service, project = service_of(bob), project_of(ada)
    bid, other = open_bid(ada, service, "99.50", project_id=project), open_bid(ada, service)
    made = take(bid)
    assert made.status == 201
    expected = {
        "user_id": 1,
        "service_id": service,
        "project_id": project,
        "bid_id": bid,
        "provider_id": 1,
        "provider_user_id": 2,
        "amount": "99.50",
        "status": "created",
        "tokens_charged": None,
        "refunded_amount": "0.00",
    }
    assert {name: made[name] for name in expected} == expected
    assert made.headers["Location"] == f"../../orders/{made['id']}"
    assert ada.call("read_order", order_id=made["id"]).json == made.json
    won, still_open = (ada.call("read_bid", bid_id=one) for one in (bid, other))
    assert (won["status"], won["order_id"]) == ("won", made["id"])
    assert (still_open["status"], still_open["order_id"]) == ("open", None)
    assert notices(stores)[2:] == [(f"Your bid of 99.50 on service 1 was taken: it is order {made['id']} now.", [1])]
    (progress,) = stores.rows("itlc_orders", "SELECT project_id, owner_id, status, version FROM project_progress")
    assert progress == {"project_id": project, "owner_id": 1, "status": "in_progress", "version": 1}
    (event,) = stores.rows("itlc_orders", "SELECT type, payload FROM outbox WHERE queue = 'projects'")
    assert event == {"type": "progress", "payload": {"project_id": project, "status": "in_progress"}}


def test_only_the_provider_takes_it_no_administrator_either(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    assert [take(bid, caller).status for caller in (ada, root, eve, nobody)] == [403, 403, 404, 401]
    assert take(bid + 1).status == 404
    assert bob.call("make_order", {"amount": "1.00"}, bid_id=bid).status == 422
    assert stores.rows("itlc_orders", "SELECT * FROM orders") == []
    assert ada.call("read_bid", bid_id=bid)["status"] == "open"


@pytest.mark.parametrize("ending", ["withdrawn", "rejected", "expired", "won"])
def test_only_an_open_bid_is_taken(stores: Stores, ending: str) -> None:
    bid = open_bid(ada, service_of(bob))
    if ending == "won":
        assert take(bid).status == 201
    else:
        stores.rows("itlc_orders", "UPDATE bidding SET status = :ending", ending=ending)
    orders = stores.rows("itlc_orders", "SELECT * FROM orders")
    refused = take(bid)
    assert refused.status == 409
    assert "This bid" in refused["detail"]
    assert stores.rows("itlc_orders", "SELECT * FROM orders") == orders


def test_a_bid_on_a_service_withdrawn_meanwhile_is_still_good(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    assert bob.call("withdraw_service", service_id=1).status == 204
    assert take(bid).status == 201


def test_a_bid_whose_project_is_gone_is_not_taken(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project_of(ada))
    stores.mongo["itlc_pbfr"]["projects"].delete_many({})
    refused = take(bid)
    assert refused.status == 409
    assert "project" in refused["detail"]
    assert stores.rows("itlc_orders", "SELECT * FROM orders") == []


def test_a_bid_whose_bidder_has_left_is_not_taken(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    stores.rows("itlc_users", "UPDATE users SET erased_at = now() WHERE id = 1")
    refused = take(bid)
    assert refused.status == 409
    assert "has left" in refused["detail"]
    assert stores.rows("itlc_orders", "SELECT * FROM orders") == []


def test_a_repeated_key_makes_one_order(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    first = bob.call("make_order", key="k", bid_id=bid)
    again = bob.call("make_order", key="k", bid_id=bid)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert len(stores.rows("itlc_orders", "SELECT * FROM orders")) == 1


def take_under_one_key(bid_id: int) -> Response:
    """Bob takes a bid, and repeats himself."""
    return bob.call("make_order", key="k", bid_id=bid_id)


def test_a_request_repeated_while_it_runs_makes_one_order(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    answers = at_once(take_under_one_key, [(bid,)] * 12)
    made = {answer.text for answer in answers if answer.status == 201}
    running = {answer["type"] for answer in answers if answer.status != 201}
    assert len(made) == 1
    assert running <= {"urn:itlc:problem:still-running"}
    assert take_under_one_key(bid).text in made
    assert len(stores.rows("itlc_orders", "SELECT * FROM orders")) == 1


def test_of_many_who_take_a_bid_at_once_one_does(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project_of(ada))
    answers = at_once(take, [(bid,)] * 8)
    assert sorted(answer.status for answer in answers) == [201, *[409] * 7]
    (order,) = stores.rows("itlc_orders", "SELECT id FROM orders")
    (row,) = stores.rows("itlc_orders", "SELECT status, order_id FROM bidding")
    assert row == {"status": "won", "order_id": order["id"]}
    assert len(notices(stores, "%was taken%")) == 1


def take_or_withdraw(bid_id: int, takes: bool) -> Response:
    """Bob takes, or Ada withdraws."""
    return take(bid_id) if takes else ada.call("withdraw_bid", bid_id=bid_id)


def test_of_taking_and_withdrawing_at_once_one_happens(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    answers = at_once(take_or_withdraw, [(bid, number % 2 == 0) for number in range(8)])
    assert sorted(answer.status for answer in answers)[1:] == [409] * 7
    won = min(answer.status for answer in answers) == 201
    (row,) = stores.rows("itlc_orders", "SELECT status FROM bidding")
    assert row["status"] == ("won" if won else "withdrawn")
    assert len(stores.rows("itlc_orders", "SELECT * FROM orders")) == int(won)


def test_the_owner_sees_the_projects_orders(stores: Stores) -> None:
    service, project = service_of(bob), project_of(ada)
    orders = [take(open_bid(ada, service, project_id=project))["id"] for _ in range(3)]
    take(open_bid(ada, service))
    pages = list(ada.pages("list_project_orders", query={"limit": 2}, project_id=project))
    assert [[item["id"] for item in page] for page in pages] == [orders[:0:-1], orders[:1]]
    bob.call("check_in", {"status": "started"}, order_id=orders[0])
    started = root.call("list_project_orders", query={"status": "in_progress"}, project_id=project)
    assert [item["id"] for item in started["items"]] == orders[:1]
    assert bob.call("list_project_orders", project_id=project).status == 404
    assert ada.call("list_project_orders", project_id="665f1f77bcf86cd799439011").status == 404
    assert ada.call("list_project_orders", project_id="7").status == 404
    assert nobody.call("list_project_orders", project_id=project).status == 401
