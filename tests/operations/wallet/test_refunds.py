"""Refunds: in parts and in full, refused, cut off, and never more than was charged."""

from collections.abc import Iterator
from typing import Any

import pytest
from itlc.settings import settings
from itlc.stores import postgres
from itlc.wallet.model import MAX_TOKENS

from tests.operations.wallet.test_payments import Cut, cut
from tests.support.calling import As, Response, deliver, nobody
from tests.support.market import order_in
from tests.support.money import deliver_again, give, holder, ledger_holds, money, payable, tokens_of
from tests.support.queues import consumers, drain, receive_all
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> Iterator[As]:
    """Ada, a customer with 500 tokens; whatever a test does with them, the ledger holds afterwards."""
    yield holder("Ada", 500)
    ledger_holds(stores)


@pytest.fixture
def bob(ada: As) -> As:
    """Bob, a provider without tokens."""
    return holder("Bob")


def paid(ada: As, bob: As, amount: str = "120.00") -> int:
    """A paid order of Ada's with Bob."""
    (order_id,) = payable(ada, bob, amount)
    assert ada.call("pay_order", key=f"pay {order_id}", order_id=order_id).status == 201
    return order_id


def refund(who: As, order_id: int, body: Any = None, key: str = "k") -> Response:
    """Give a refund."""
    return who.call("refund_order", body, key=key, order_id=order_id)


def test_all_that_was_paid_is_given_back(ada: As, bob: As, stores: Stores) -> None:
    order_id = paid(ada, bob)
    response = refund(bob, order_id)
    assert response.status == 201
    assert (response["order_id"], response["amount"], response["tokens"]) == (order_id, "120.00", 120)
    assert (response["order_status"], response["refunded_amount"], response["balance"]) == ("refunded", "120.00", 0)
    assert tokens_of(stores, ada, bob) == [500, 0]
    order = ada.call("read_order", order_id=order_id).json
    assert (order["status"], order["refunded_amount"], order["tokens_charged"]) == ("refunded", "120.00", 120)
    assert [entry["kind"] for entry in bob.call("list_ledger")["items"]] == ["refund", "payment"]
    credit = ada.call("list_ledger")["items"][0]
    assert (credit["kind"], credit["direction"], credit["tokens"]) == ("refund", "credit", 120)
    assert (credit["order_id"], credit["balance_after"]) == (order_id, 500)

    drain()
    (told,) = stores.rows("itlc_orders", "SELECT * FROM notifications WHERE message LIKE '%refunded%'")
    assert (told["user_id"], told["about"]) == (ada.user_id, f"order:{order_id}")
    (audited,) = stores.rows("itlc_orders", "SELECT * FROM audit WHERE action = 'refund_order'")
    assert (audited["actor_id"], audited["object"]) == (bob.user_id, f"order:{order_id}")
    assert audited["after"] == {"status": "refunded", "refunded_tokens": 120}
    before = money(stores)
    deliver_again(stores)
    assert money(stores) == before
    again = refund(bob, order_id)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, response.text, "true")
    assert refund(bob, order_id, key="another key").status == 409


@pytest.mark.parametrize(
    ("amount", "parts"),
    [
        ("10.50", [("3.50", 4), ("3.50", 3), ("3.50", 4)]),
        ("1.50", [("0.49", 0), ("0.50", 1), ("0.50", 0), ("1.00", 1)]),
        ("100.00", [("0.10", 0), ("99.50", 100), (None, 0)]),
        ("3.00", [("3.01", -1), ("1.00", 1), ("2.01", -1), (None, 2)]),
    ],
)
def test_parts_add_up(ada: As, bob: As, stores: Stores, amount: str, parts: list[tuple[str | None, int]]) -> None:
    """0 stands for worth no whole token (422), -1 for more than is left (409)."""
    order_id = paid(ada, bob, amount)
    (charged,) = tokens_of(stores, bob)
    for number, (part, tokens) in enumerate(parts):
        before = ada.call("read_order", order_id=order_id).json
        response = refund(bob, order_id, part and {"amount": part}, key=str(number))
        after = ada.call("read_order", order_id=order_id).json
        if tokens > 0:
            assert (response.status, response["tokens"]) == (201, tokens)
            assert response["refunded_amount"] == after["refunded_amount"]
        else:
            assert response.status == {0: 422, -1: 409}[tokens]
            assert after == before
    (row,) = stores.rows("itlc_orders", "SELECT * FROM orders")
    assert (row["status"] == "refunded") == (row["refunded_amount"] == row["amount"])
    assert tokens_of(stores, ada, bob) == [500 - charged + row["refunded_tokens"], charged - row["refunded_tokens"]]


def test_it_is_worth_what_it_was_when_it_was_paid(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ITLC_TOKEN_RATE", "2")
        settings.cache_clear()
        order_id = paid(ada, bob, "100.00")
    settings.cache_clear()
    assert tokens_of(stores, ada, bob) == [300, 200]
    assert refund(bob, order_id, {"amount": "25.00"})["tokens"] == 50
    assert refund(bob, order_id, key="rest")["tokens"] == 150


def test_an_order_worth_no_token_has_nothing_to_give_back(ada: As, bob: As) -> None:
    response = refund(bob, paid(ada, bob, "0.40"))
    assert (response.status, response["errors"][0]["field"]) == (422, "amount")


@pytest.mark.parametrize("status", ["created", "in_progress", "completed", "paying", "cancelled"])
def test_only_what_is_paid_is_refunded(ada: As, bob: As, stores: Stores, status: str) -> None:
    response = refund(bob, order_in(status, ada, bob))
    assert response.status == 409
    assert stores.rows("itlc_orders", "SELECT * FROM refunds") == []


def test_only_the_orders_provider_refunds(ada: As, bob: As, stores: Stores) -> None:
    order_id = paid(ada, bob)
    admin, stranger = holder("Eve", admin=True), holder("Sam")
    assert [refund(who, order_id).status for who in (ada, admin, stranger, nobody)] == [403, 403, 404, 401]
    assert refund(bob, 4711).status == 404
    assert bob.call("refund_order", order_id=order_id).status == 400
    for body in ({"amount": "0"}, {"amount": "1.005"}, {"amount": -1}, {"amount": True}, {"sum": 1}):
        assert refund(bob, order_id, body).status == 422
    stores.rows("itlc_users", "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'")
    assert refund(bob, order_id).status == 401
    assert tokens_of(stores, ada, bob) == [380, 120]


def test_with_too_few_tokens_nothing_is_given_back(ada: As, bob: As, stores: Stores) -> None:
    order_id = paid(ada, bob)
    (spent,) = payable(bob, holder("Cy"), "20.00")
    assert bob.call("pay_order", key="k", order_id=spent).status == 201
    first = refund(bob, order_id)
    assert (first.status, first["detail"]) == (
        402,
        "This gives back 120 tokens; your balance is 100. Top up first.",
    )
    give(bob.user_id or 0, 20)
    assert refund(bob, order_id).text == first.text
    assert refund(bob, order_id, key="another key").status == 201
    assert tokens_of(stores, ada, bob) == [500, 0]


def test_nobody_who_is_gone_or_too_full_gets_anything_back(ada: As, bob: As, stores: Stores) -> None:
    order_id = paid(ada, bob)
    stores.rows("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=ada.user_id)
    assert "gone" in refund(bob, order_id)["detail"]
    stores.rows("itlc_users", "UPDATE users SET erased_at = NULL")
    for tokens in (1_000_000_000, 1_000_000_000, 147_483_200):
        give(ada.user_id or 0, tokens)
    full = refund(bob, order_id, key="k2")
    assert (full.status, "too full" in full["detail"]) == (409, True)
    assert tokens_of(stores, bob) == [120]
    rows = stores.rows("itlc_orders", "SELECT status FROM refunds")
    assert [row["status"] for row in rows] == ["declined", "declined"]


@pytest.mark.parametrize(
    ("database", "transaction", "moved"), [(postgres.users, 1, 0), (postgres.orders, 2, 50)], ids=["ledger", "settle"]
)
def test_cut_off_it_answers_202_and_the_queue_settles(
    ada: As,
    bob: As,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
    moved: int,
) -> None:
    order_id = paid(ada, bob)
    drain()
    with monkeypatch.context() as patch:
        cut(patch, database, transaction, Cut())
        response = refund(bob, order_id, {"amount": 50})
    assert (response.status, response.json) == (202, {"order_id": order_id, "status": "refunding"})
    assert tokens_of(stores, ada, bob) == [380 + moved, 120 - moved]
    running = refund(bob, order_id, {"amount": 50})
    assert (running.status, running.headers["Retry-After"]) == (409, "1")
    another = refund(bob, order_id, {"amount": 5}, key="another key")
    assert (another.status, another.headers["Retry-After"]) == (409, "1")
    assert "under way" in another["detail"]
    drain()
    settled = refund(bob, order_id, {"amount": 50})
    assert (settled.status, settled["refunded_tokens"], settled["order_status"]) == (201, 50, "paid")
    assert tokens_of(stores, ada, bob) == [430, 70]
    before = money(stores)
    deliver_again(stores)
    assert money(stores) == before
    again = refund(bob, order_id, {"amount": 5}, key="another key")
    assert (again.status, again["refunded_tokens"]) == (201, 55), "what passes by itself is not kept under the key"


def test_a_refund_that_comes_to_nothing_keeps_no_words_of_who_has_left(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = paid(ada, bob)
    drain()
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        assert refund(bob, order_id, {"amount": 50}, key="my own words").status == 202
    (message,) = receive_all("payments")
    assert bob.call("erase_me").status == 202
    drain()
    assert deliver(consumers()["payments"], message) == []
    drain()
    assert stores.rows("itlc_orders", "SELECT status, key FROM refunds") == [{"status": "declined", "key": ""}]
    assert stores.rows("itlc_orders", "SELECT key FROM idempotency_keys WHERE operation = 'refund_order'") == []


def test_who_asks_again_goes_on_with_what_was_cut_off(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = paid(ada, bob)
    drain()
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert refund(bob, order_id, {"amount": 50}).status == 202
    stores.rows("itlc_orders", "UPDATE idempotency_keys SET created_at = created_at - interval '26 seconds'")
    settled = refund(bob, order_id, {"amount": 50})
    assert (settled.status, settled["refunded_tokens"]) == (201, 50)
    drain()
    assert refund(bob, order_id, {"amount": 50}).text == settled.text
    assert tokens_of(stores, ada, bob) == [430, 70]


def test_a_part_leaves_a_project_paid_and_all_of_it_too(ada: As, bob: As, stores: Stores) -> None:
    project = ada.call("create_project", {"name": "Garden", "description": "The back one."})["id"]
    payable(ada, bob, "10.00", project_id=project)
    assert ada.call("pay_project", key="k", project_id=project).status == 201
    for number in range(2):
        assert refund(bob, 1, {"amount": 5}, key=str(number)).status == 201
        drain()
        assert ada.call("read_project", project_id=project)["status"] == "paid"


def test_a_refund_needs_room_for_what_may_come_back_out_of_escrow_too(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = paid(ada, bob, "120.00")
    (other,) = payable(ada, bob, "200.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert ada.call("pay_order", key="other", order_id=other).status == 201
    (left,) = tokens_of(stores, ada)
    room = MAX_TOKENS - left - 200
    for tokens in (1_000_000_000, 1_000_000_000, room - 2_000_000_000):
        give(ada.user_id or 0, tokens)
    refused = refund(bob, order_id, {"amount": "20.00"})
    assert refused.status == 409
    assert "too full" in refused["detail"]
