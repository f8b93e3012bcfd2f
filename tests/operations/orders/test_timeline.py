"""An order's timeline, as the operations make it, on real stores."""

from typing import Any

from tests.support.calling import As, nobody
from tests.support.market import member, order_in
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


def step(number: int) -> dict[str, Any]:
    """A step of a plan."""
    return {
        "step_number": number,
        "description": f"Step {number}",
        "requirements": "None.",
        "notified_personnel": [],
        "depends_on": [],
    }


def test_all_that_happened_is_in_one_list_oldest_first(stores: Stores) -> None:
    assert [member(name).user_id for name in ("Ada", "Bob")] == [1, 2]
    order = order_in("created", ada, bob)
    assert bob.call("define_plan", [step(1), step(2)], order_id=order).status == 200
    bob.call("check_in", {"status": "started", "note": "Here we go."}, order_id=order)
    steps = bob.call("list_steps", order_id=order)["items"]
    for one in steps:
        assert bob.call("complete_step", order_id=order, step_id=one["id"]).status == 200
    bob.call("check_in", {"status": "completed"}, order_id=order)
    payment, refund = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    key = "'user:1', 'pay_order', 'k', 'f'"
    stores.rows(
        "itlc_orders",
        "INSERT INTO payments (id, customer_id, tokens, rate, status, key_caller, key_operation, key, key_fingerprint) "
        f"VALUES ('{payment}', 1, 120, 1, 'settled', {key})",
    )
    stores.rows(
        "itlc_orders",
        "INSERT INTO payment_orders (payment_id, order_id, tokens, provider_user_id) VALUES (:payment, :order, 120, 2)",
        payment=payment,
        order=order,
    )
    stores.rows(
        "itlc_orders",
        "INSERT INTO refunds (id, order_id, amount, tokens, status, key_caller, key_operation, key, key_fingerprint) "
        f"VALUES ('{refund}', {order}, 20, 20, 'settled', {key})",
    )
    happened = ada.call("show_timeline", query={"limit": 100}, order_id=order)
    assert happened.status == 200
    items, shown = happened["items"], ("kind", "id", "status", "amount", "tokens", "step_number", "text")
    assert [tuple(item[name] for name in shown) for item in items] == [
        ("bid", 1, None, "120.00", None, None, None),
        ("order", order, None, "120.00", None, None, None),
        ("step_defined", steps[0]["id"], None, None, None, 1, None),
        ("step_defined", steps[1]["id"], None, None, None, 2, None),
        ("checkin", 1, "started", None, None, None, "Here we go."),
        ("step_completed", steps[0]["id"], None, None, None, 1, None),
        ("step_completed", steps[1]["id"], None, None, None, 2, None),
        ("checkin", 2, "completed", None, None, None, None),
        ("payment", payment, "settled", None, 120, None, None),
        ("refund", refund, "settled", "20.00", 20, None, None),
    ]
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)
    assert all(item["at"].endswith("Z") for item in items)
    for limit in (1, 3, 9, 10):
        pages = list(bob.pages("show_timeline", query={"limit": limit}, order_id=order))
        assert [item for page in pages for item in page] == items
        assert all(len(page) == limit for page in pages[:-1])


def test_a_long_history_is_read_page_by_page(stores: Stores) -> None:
    order = order_in("in_progress", ada, bob)
    for _ in range(7):
        bob.call("check_in", {"status": "in_progress"}, order_id=order)
    ada.call("cancel_order", {"reason": "Enough."}, order_id=order)
    pages = list(ada.pages("show_timeline", query={"limit": 3}, order_id=order))
    kinds = [item["kind"] for page in pages for item in page]
    assert kinds == ["bid", "order", *["checkin"] * 8, "cancellation"]
    assert pages[-1][-1]["text"] == "Enough."


def test_the_timeline_is_the_parties(stores: Stores) -> None:
    order = order_in("created", ada, bob)
    statuses = [who.call("show_timeline", order_id=order).status for who in (ada, bob, root, eve, nobody)]
    assert statuses == [200, 200, 200, 404, 401]
    assert ada.call("show_timeline", order_id=order + 1).status == 404
