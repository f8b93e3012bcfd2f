"""A message that somebody else has put into a queue moves nothing: it is a dead letter, with the reason."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from itlc.events import Event, event, read_event
from itlc.stores import postgres
from itlc.wallet import repository, topups

from tests.operations.wallet.test_payments import Cut, cut, pay
from tests.support.calling import As, deliver
from tests.support.money import give, holder, ledger_holds, money, outbox, payable
from tests.support.queues import dead_letters, drain, receive_all
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> Iterator[As]:
    """Ada, a customer with 500 tokens; whatever a test does with them, the ledger holds afterwards."""
    somebody = holder("Ada", 500)
    drain()
    yield somebody
    drain()
    ledger_holds(stores)


@pytest.fixture
def bob(ada: As) -> As:
    """Bob, a provider without tokens."""
    return holder("Bob")


def sent(stores: Stores, type: str) -> Event:
    """The last event of that type that a database has emitted."""
    events = [
        read_event("topups" if consumer == "process_topups" else "payments", body) for consumer, body in outbox(stores)
    ]
    return max((one for one in events if one.type == type), key=lambda one: one.created_at)


def moves_nothing(stores: Stores, consumer: str, forged: Event, reason: str) -> None:
    """Assert that the message is a dead letter for a reason that says this, and that all money is where it was."""
    before = money(stores)
    assert deliver(consumer, forged.body()) == []
    (letter,) = dead_letters(forged.queue)
    assert reason in letter["reason"]
    assert money(stores) == before
    assert receive_all(forged.queue) == []


def as_new(like: Event, **changes: Any) -> Event:
    """A message like that one under an id of its own, which says something else."""
    return replace(like, id=str(uuid.uuid4()), payload={**like.payload, **changes})


def test_tokens_do_not_come_out_of_nothing(ada: As, stores: Stores) -> None:
    said = {"topup_id": 99_999_999, "user_id": ada.user_id, "tokens": 777, "made_by": ada.user_id}
    forged = event("topups", "credit", "topup:99999999", said)
    moves_nothing(stores, "process_topups", forged, "there is no top-up 99999999")


@pytest.mark.parametrize("changes", [{"tokens": 5000}, {"user_id": 2}, {"made_by": 2}])
def test_a_top_up_is_of_the_user_and_the_tokens_that_were_asked_for(
    ada: As, bob: As, stores: Stores, changes: dict[str, int]
) -> None:
    assert ada.call("top_up", {"amount": 5}, key="k").status == 202
    receive_all("topups")
    forged = as_new(sent(stores, "credit"), **changes)
    moves_nothing(stores, "process_topups", forged, "says something else than its cause")


@pytest.mark.parametrize("type", ["credited", "refused"])
def test_only_the_ledger_says_what_became_of_a_top_up(ada: As, stores: Stores, type: str) -> None:
    topup = ada.call("top_up", {"amount": 5}, key="k")["id"]
    receive_all("topups")
    said = {"topup_id": topup, **({"reason": "expired"} if type == "refused" else {})}
    moves_nothing(
        stores, "process_topups", event("topups", type, f"topup:{topup}", said), "itlc_users has sent no such"
    )


def test_a_payment_is_of_its_orders_and_their_tokens(ada: As, bob: As, stores: Stores) -> None:
    paid, other = payable(ada, bob, "120.00", "250.00")
    assert pay(ada, paid).status == 201
    drain()
    collect, release = sent(stores, "collect"), sent(stores, "release")
    (share,) = collect.payload["orders"]
    for changed in ({"order_id": other, "tokens": 250}, {"tokens": 119}, {"provider_user_id": ada.user_id}):
        forged = as_new(collect, orders=[{**share, **changed}])
        moves_nothing(stores, "settle_payments", forged, "says something else than its cause")
    nobodys = as_new(collect, payment_id=str(uuid.uuid4()))
    moves_nothing(stores, "settle_payments", nobodys, "there is no payment")
    elsewhere = as_new(release, provider_user_id=ada.user_id)
    moves_nothing(stores, "settle_payments", elsewhere, f"has nothing for user {ada.user_id}")
    back = event("payments", "give_back", collect.aggregate, collect.payload)
    moves_nothing(stores, "settle_payments", back, "is settled, not declined")


@pytest.mark.parametrize("type", ["collected", "declined"])
def test_only_the_ledger_says_whether_a_payment_was_collected(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch, type: str
) -> None:
    from tests.faults.paths import left_to_the_queue

    (order,) = payable(ada, bob, "120.00")
    left_to_the_queue(lambda: pay(ada, order))
    receive_all("payments")
    collect = sent(stores, "collect")
    said = {"reason": "short", "payment_id": collect.payload["payment_id"]} if type == "declined" else collect.payload
    forged = event("payments", type, collect.aggregate, {**said, "balance": 380})
    moves_nothing(stores, "settle_payments", forged, f"itlc_users has sent no such `{type}`")
    assert ada.call("read_order", order_id=order)["status"] == "paying"
    assert deliver("settle_payments", collect.body()) == []
    drain()
    assert ada.call("read_order", order_id=order)["status"] == "paid"


def test_a_refund_is_one_that_the_provider_asked_for(ada: As, bob: As, stores: Stores) -> None:
    (order,) = payable(ada, bob, "120.00")
    assert pay(ada, order).status == 201
    assert bob.call("refund_order", {"amount": "20.00"}, key="r", order_id=order).status == 201
    drain()
    refund = sent(stores, "refund")
    nobodys = as_new(refund, refund_id=str(uuid.uuid4()))
    moves_nothing(stores, "settle_payments", nobodys, "there is no refund")
    for changed in ({"tokens": 50}, {"payee_id": bob.user_id, "payer_id": ada.user_id}):
        moves_nothing(stores, "settle_payments", as_new(refund, **changed), "says something else than its cause")
    made = event("payments", "refunded", refund.aggregate, {"refund_id": refund.payload["refund_id"], "balance": 1})
    moves_nothing(stores, "settle_payments", made, "itlc_users has sent no such `refunded`")


def test_what_was_sent_passes_however_often_it_comes(ada: As, bob: As, stores: Stores) -> None:
    (order,) = payable(ada, bob, "120.00")
    assert pay(ada, order).status == 201
    assert bob.call("refund_order", {"amount": "20.00"}, key="r", order_id=order).status == 201
    assert ada.call("top_up", {"amount": 5}, key="k").status == 202
    drain()
    before = money(stores)
    for consumer, body in outbox(stores):
        assert deliver(consumer, body) == []
    assert (dead_letters("payments"), dead_letters("topups"), money(stores)) == ([], [], before)


def _declined_payment(ada: As, bob: As) -> None:
    (order,) = payable(ada, bob, "501.00")
    assert pay(ada, order).status == 402
    drain()
    give(ada.user_id or 0, 1)


def _declined_refund(ada: As, bob: As) -> None:
    (order,), (spent,) = payable(ada, bob, "10.00"), payable(bob, ada, "10.00")
    assert (pay(ada, order).status, pay(bob, spent).status) == (201, 201)
    assert bob.call("refund_order", key="r", order_id=order).status == 402
    give(bob.user_id or 0, 10)


def _failed_topup(ada: As, _: As) -> None:
    topup = ada.call("top_up", {"amount": 5}, key="k")["id"]
    receive_all("topups")
    row = postgres.tokens.write(lambda db: repository.topup(db, topup))
    assert row is not None
    topups.SAGA.run(topups.close(row, "expired"))
    assert ada.call("read_topup", topup_id=topup)["status"] == "failed"


@pytest.mark.parametrize(
    ("refused", "consumer", "type"),
    [
        (_declined_payment, "settle_payments", "collect"),
        (_declined_refund, "settle_payments", "refund"),
        (_failed_topup, "process_topups", "credit"),
    ],
    ids=["payment", "refund", "top-up"],
)
def test_what_was_refused_is_not_begun_once_more_by_a_message_that_says_the_same(
    ada: As, bob: As, stores: Stores, refused: Callable[[As, As], None], consumer: str, type: str
) -> None:
    """Though by now there would be the tokens, or the room."""
    refused(ada, bob)
    drain()
    moves_nothing(stores, consumer, as_new(sent(stores, type)), "is not the one that its cause makes")


def test_a_message_is_about_what_its_cause_is_about(ada: As, stores: Stores) -> None:
    assert ada.call("top_up", {"amount": 5}, key="k").status == 202
    (body,) = receive_all("topups")
    true = read_event("topups", body)
    moves_nothing(stores, "process_topups", replace(true, aggregate="topup:77"), "is not the one that its cause makes")
    assert deliver("process_topups", body) == []
    assert ada.call("read_me")["tokens"] == 505


def test_nothing_is_released_before_the_payment_is_settled(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = payable(ada, bob, "120.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert pay(ada, order).status == 202
    receive_all("payments")
    collected = sent(stores, "collected")
    said = {name: collected.payload[name] for name in ("payment_id", "orders")}
    forged = event("payments", "release", collected.aggregate, {**said, "provider_user_id": bob.user_id})
    moves_nothing(stores, "settle_payments", forged, "is paying, not settled")
    assert deliver("settle_payments", collected.body()) == []
    drain()
    assert ada.call("read_order", order_id=order)["status"] == "paid"
