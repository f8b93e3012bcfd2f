"""Reading and cancelling orders, as the operations do it, on real stores."""

import pytest

from tests.operations.orders.test_checkins import PROJECT, notices
from tests.support.calling import As, nobody
from tests.support.market import open_bid, order_in, service_of
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


def test_both_parties_read_the_order(stores: Stores) -> None:
    order = order_in("created", ada, bob, "99.5")
    read = ada.call("read_order", order_id=order)
    assert read.status == 200
    assert read.headers["ETag"]
    expected = {
        "id": order,
        "user_id": 1,
        "service_id": 1,
        "project_id": None,
        "bid_id": 1,
        "provider_id": 1,
        "provider_user_id": 2,
        "amount": "99.50",
        "status": "created",
        "tokens_charged": None,
        "refunded_amount": "0.00",
        "cancel_reason": None,
    }
    assert {name: read[name] for name in expected} == expected
    assert read["created_at"].endswith("Z")
    assert bob.call("read_order", order_id=order).json == read.json == root.call("read_order", order_id=order).json
    assert eve.call("read_order", order_id=order).status == 404
    assert ada.call("read_order", order_id="abc").status == 404
    assert nobody.call("read_order", order_id=order).status == 401


def test_orders_are_listed_by_role_and_status(stores: Stores) -> None:
    given = [order_in("created", ada, bob), order_in("cancelled", ada, eve)]
    taken = order_in("created", bob, ada)
    order_in("created", bob, eve)

    def ids(caller: As, **query: object) -> list[int]:
        return [item["id"] for item in caller.call("list_orders", query=query)["items"]]

    assert ids(ada) == [taken, given[1], given[0]]
    assert ids(ada, role="customer") == [given[1], given[0]]
    assert ids(ada, role="provider") == [taken]
    assert ids(ada, status="created") == [taken, given[0]]
    assert ids(ada, status="cancelled", role="provider") == []
    assert ids(root) == []
    assert nobody.call("list_orders").status == 401
    assert ada.call("list_orders", query={"role": "admin"}).status == 422
    assert ada.call("list_orders", query={"status": "done"}).status == 422


def test_pages_of_both_roles_follow_each_other(stores: Stores) -> None:
    orders = [order_in("created", *pair) for pair in [(ada, bob), (bob, ada), (ada, eve), (ada, bob), (eve, ada)]]
    pages = list(ada.pages("list_orders", query={"limit": 2}))
    assert [[item["id"] for item in page] for page in pages] == [orders[:2:-1], orders[2:0:-1], orders[:1]]


def test_orders_that_come_in_between_do_not_disturb_the_pages(stores: Stores) -> None:
    orders = [order_in("created", ada, bob) for _ in range(4)]
    first = ada.call("list_orders", query={"limit": 2})
    order_in("created", ada, bob)
    second = ada.call("list_orders", query={"limit": 2, "cursor": first["next_cursor"]})
    assert [item["id"] for item in first["items"] + second["items"]] == orders[::-1]
    assert bob.call("list_orders", query={"limit": 2, "cursor": first["next_cursor"]}).status == 422


@pytest.mark.parametrize("state", ["created", "in_progress"])
@pytest.mark.parametrize(("canceller", "other"), [(ada, bob), (bob, ada)])
def test_either_party_cancels_and_the_other_is_told(stores: Stores, state: str, canceller: As, other: As) -> None:
    order = order_in(state, ada, bob, project_id=PROJECT)
    cancelled = canceller.call("cancel_order", {"reason": "Rain."}, order_id=order)
    assert cancelled.status == 200
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled", "Rain.")
    assert cancelled["cancelled_by"] == canceller.user_id
    assert cancelled["cancelled_at"] is not None
    assert notices(stores, "%cancelled%") == [(f"Order {order} was cancelled. The order says why.", [other.user_id])]
    (progress,) = stores.rows("itlc_orders", "SELECT status, version FROM project_progress")
    assert progress == {"status": "open", "version": 2}
    assert stores.rows("itlc_orders", "SELECT * FROM audit") == []


@pytest.mark.parametrize("state", ["completed", "paying", "paid", "refunded", "cancelled"])
def test_from_completion_on_nothing_is_cancelled(stores: Stores, state: str) -> None:
    order = order_in(state, ada, bob)
    emitted = len(notices(stores))
    refused = ada.call("cancel_order", {"reason": "Rain."}, order_id=order)
    assert refused.status == 409
    assert f"Cancel is not possible: the order is {state}" in refused["detail"]
    assert ada.call("read_order", order_id=order)["status"] == state
    assert len(notices(stores)) == emitted


def test_cancelling_is_refused_to_strangers_and_without_a_reason(stores: Stores) -> None:
    order = order_in("created", ada, bob)
    assert eve.call("cancel_order", {"reason": "Rain."}, order_id=order).status == 404
    assert nobody.call("cancel_order", {"reason": "Rain."}, order_id=order).status == 401
    for body in ({}, {"reason": " "}, {"reason": 3}, {"reason": "Rain.", "refund": True}):
        assert ada.call("cancel_order", body, order_id=order).status == 422
    assert ada.call("read_order", order_id=order)["status"] == "created"


def test_an_administrator_cancels_on_record_and_both_are_told(stores: Stores) -> None:
    order = order_in("in_progress", ada, bob)
    assert root.call("cancel_order", {"reason": "Fraud."}, order_id=order).status == 200
    (entry,) = stores.rows("itlc_orders", "SELECT * FROM audit")
    assert (entry["actor_id"], entry["action"], entry["object"]) == (9, "cancel_order", f"order:{order}")
    assert (entry["before"], entry["after"]) == ({"status": "in_progress"}, {"status": "cancelled"})
    assert [users for _, users in notices(stores, "%cancelled%")] == [[1, 2]]


def test_a_repeated_key_cancels_once(stores: Stores) -> None:
    order = order_in("created", ada, bob)
    first = ada.call("cancel_order", {"reason": "Rain."}, key="k", order_id=order)
    again = ada.call("cancel_order", {"reason": "Rain."}, key="k", order_id=order)
    assert (again.status, again.text) == (200, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ada.call("cancel_order", {"reason": "Snow."}, key="k", order_id=order).status == 422
    assert len(notices(stores, "%cancelled%")) == 1


def test_a_project_follows_its_orders(stores: Stores) -> None:
    def told() -> list[tuple[int, str]]:
        sql = "SELECT aggregate_version, payload FROM outbox WHERE queue = 'projects' ORDER BY aggregate_version"
        return [(row["aggregate_version"], row["payload"]["status"]) for row in stores.rows("itlc_orders", sql)]

    order_in("completed", ada, bob, project_id=PROJECT)
    second = order_in("created", ada, bob, project_id=PROJECT)
    assert told() == [(1, "in_progress"), (2, "completed"), (3, "in_progress")]
    ada.call("cancel_order", {"reason": "One is enough."}, order_id=second)
    assert told()[3:] == [(4, "completed")]
    order_in("created", ada, bob)
    assert len(told()) == 4


def test_what_other_domains_ask(stores: Stores) -> None:
    from decimal import Decimal

    from itlc.errors import NotFound
    from itlc.orders import service

    garden, kitchen = service_of(bob), service_of(bob, "Kitchens")
    done = order_in("completed", ada, bob, service_id=garden, project_id=PROJECT)
    order_in("in_progress", ada, bob, service_id=kitchen)
    open_bid(eve, garden)
    facts = service.order_for(done)
    assert facts == service.OrderFacts(done, 1, 2, garden, PROJECT, Decimal("120.00"), "completed")
    with pytest.raises(NotFound):
        service.order_for(99)
    assert service.bought(1, garden)
    assert not service.bought(1, kitchen)
    assert not service.bought(3, garden)
