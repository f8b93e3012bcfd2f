"""Steps that were done are not done again even where no inbox remembers them: each looks at what it has changed.

A message that the inbox has forgotten is stood for by the same one under another id.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from itlc.errors import Poison
from itlc.events import Event, read_event
from itlc.stores import postgres
from itlc.wallet import payments, refunds, topups
from itlc.wallet.payments import Declined
from itlc.wallet.refunds import RefundDeclined
from itlc.wallet.saga import then
from itlc.wallet.topups import Credited, Refused

from tests.operations.wallet.test_payments import Cut, cut, order_row, pay
from tests.support.calling import As
from tests.support.money import give, holder, ledger_holds, money, outbox, payable, tokens_of
from tests.support.queues import drain, receive_all
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> Iterator[As]:
    """Ada, a customer with 500 tokens; whatever a test does with them, the ledger holds afterwards."""
    yield holder("Ada", 500)
    drain()
    ledger_holds(stores)


@pytest.fixture
def bob(ada: As) -> As:
    """Bob, a provider without tokens."""
    return holder("Bob")


def forgotten(event: Event, **changes: Any) -> Event:
    """The same event, which no inbox knows."""
    return replace(event, id=str(uuid.uuid4()), **changes)


def begun(patch: pytest.MonkeyPatch, who: As, operation: str, key: str, order_id: int, type: str) -> Event:
    """The first event of a payment or refund, of which nothing more was done."""
    receive_all("payments")
    with patch.context() as cutting:
        cut(cutting, postgres.users, 1, Cut())
        assert who.call(operation, key=key, order_id=order_id).status == 202
    (body,) = receive_all("payments")
    event = read_event("payments", body)
    assert event.type == type
    return event


def everything(stores: Stores) -> tuple[Any, ...]:
    """All that is about money, and all that was emitted."""
    told = [stores.rows(name, "SELECT id FROM outbox ORDER BY id") for name in ("itlc_orders", "itlc_tokens")]
    return money(stores), outbox(stores), told


def test_a_settled_payment_is_not_given_back(ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    (order,) = payable(ada, bob, "120.00")
    collect = begun(monkeypatch, ada, "pay_order", "k", order, "collect")
    (collected,) = payments.SAGA.apply(collect)
    (release,) = payments.SAGA.apply(collected)
    before = everything(stores)
    assert payments.SAGA.apply(forgotten(collected)) == []
    assert everything(stores) == before
    assert payments.SAGA.apply(release) == []
    assert tokens_of(stores, ada, bob) == [380, 120]


def test_a_settled_payment_is_not_declined(ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    (order,) = payable(ada, bob, "120.00")
    collect = begun(monkeypatch, ada, "pay_order", "k", order, "collect")
    payments.SAGA.run(collect)
    before = everything(stores)
    declined = Declined(payment_id=collect.payload["payment_id"], reason="short", balance=0)
    assert payments.SAGA.apply(then(collect, "declined", declined)) == []
    assert everything(stores) == before


def test_a_payment_that_was_declined_does_not_end_the_next_one(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = payable(ada, bob, "600.00")
    (declined,) = payments.SAGA.apply(begun(monkeypatch, ada, "pay_order", "k", order, "collect"))
    payments.SAGA.apply(declined)
    give(ada.user_id or 0, 100)
    begun(monkeypatch, ada, "pay_order", "k2", order, "collect")
    before = everything(stores)
    assert payments.SAGA.apply(forgotten(declined)) == []
    assert everything(stores) == before
    assert order_row(stores, order)["status"] == "paying"


def test_a_payment_that_was_declined_does_not_pay_for_the_order_in_the_place_of_the_next_one(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = payable(ada, bob, "120.00")
    collect = begun(monkeypatch, ada, "pay_order", "k", order, "collect")
    (collected,) = payments.SAGA.apply(collect)
    declined = Declined(payment_id=collect.payload["payment_id"], reason="overtaken", balance=None)
    assert payments.SAGA.apply(then(collect, "declined", declined)) == []
    following = begun(monkeypatch, ada, "pay_order", "k2", order, "collect")
    (back,) = payments.SAGA.apply(collected)
    assert back.type == "give_back"
    assert order_row(stores, order)["status"] == "paying"
    payments.SAGA.run(back)
    assert tokens_of(stores, ada, bob) == [500, 0]
    payments.SAGA.run(following)
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert [pay(ada, order, key).status for key in ("k", "k2")] == [409, 201]


def test_orders_are_not_charged_by_what_a_message_says(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = payable(ada, bob, "120.00")
    collect = begun(monkeypatch, ada, "pay_order", "k", order, "collect")
    (collected,) = payments.SAGA.apply(collect)
    (share,) = collected.payload["orders"]
    forged = forgotten(collected, payload={**collected.payload, "orders": [{**share, "tokens": 1}]})
    with pytest.raises(Poison, match="is of other orders or tokens"):
        payments.SAGA.apply(forged)
    assert order_row(stores, order)["status"] == "paying"
    payments.SAGA.run(collected)
    assert order_row(stores, order)["tokens_charged"] == 120


def test_a_refund_is_counted_once(ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    (order,) = payable(ada, bob, "120.00")
    assert pay(ada, order).status == 201
    asked = begun(monkeypatch, bob, "refund_order", "back", order, "refund")
    (refunded,) = refunds.SAGA.apply(asked)
    refunds.SAGA.apply(refunded)
    before = everything(stores)
    declined = RefundDeclined(refund_id=asked.payload["refund_id"], reason="short", balance=0)
    for event in (forgotten(refunded), then(asked, "refund_declined", declined)):
        assert refunds.SAGA.apply(event) == []
        assert everything(stores) == before
    assert order_row(stores, order)["refunded_tokens"] == 120


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_top_up_ends_in_one_way(ada: As, stores: Stores, status: str) -> None:
    drain()
    topup = ada.call("top_up", {"amount": 5}, key="k")["id"]
    (body,) = receive_all("topups")
    credit = read_event("topups", body)
    if status == "completed":
        topups.SAGA.run(credit)
    else:
        topups.SAGA.run(then(credit, "refused", Refused(topup_id=topup, reason="payee_full")))
    before = everything(stores)
    for type, said in (
        ("credited", Credited(topup_id=topup)),
        ("refused", Refused(topup_id=topup, reason="payee_gone")),
    ):
        assert topups.SAGA.apply(forgotten(then(credit, type, said))) == []
        assert everything(stores) == before
    assert ada.call("read_topup", topup_id=topup)["status"] == status


def test_a_top_up_is_credited_once_whatever_became_of_its_user(ada: As, stores: Stores) -> None:
    drain()
    ada.call("top_up", {"amount": 5}, key="k")
    (body,) = receive_all("topups")
    credit = read_event("topups", body)
    topups.SAGA.run(credit)
    before, told = money(stores), stores.rows("itlc_users", "SELECT * FROM audit")
    for erased_at in ("NULL", "now()"):
        stores.rows("itlc_users", f"UPDATE users SET erased_at = {erased_at}")
        (credited,) = topups.SAGA.apply(forgotten(credit))
        assert credited.type == "credited"
        assert (money(stores), stores.rows("itlc_users", "SELECT * FROM audit")) == (before, told)
