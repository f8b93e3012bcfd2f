"""Many at once on the same money, each in a process of its own: one wins, tokens move once, nobody goes below zero."""

import json
from collections.abc import Iterator

import pytest
from itlc.errors import InsufficientTokens
from itlc.stores import postgres
from itlc.wallet import ledger
from itlc.wallet.model import Move, account_of

from tests.operations.wallet.test_payments import Cut, cut
from tests.support.calling import As, deliver
from tests.support.money import holder, ledger_holds, outbox, payable, tokens_of
from tests.support.queues import drain
from tests.support.racing import at_once, workers
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> Iterator[As]:
    """Ada, a customer with 500 tokens; after every race, the ledger holds, and the queues have nothing to add."""
    yield holder("Ada", 500)
    ledger_holds(stores)
    drain()
    ledger_holds(stores)
    assert stores.rows("itlc_orders", "SELECT * FROM payments WHERE status = 'paying'") == []


@pytest.fixture
def bob(ada: As) -> As:
    """Bob, a provider without tokens."""
    return holder("Bob")


def pay(who: As, order_id: int, key: str) -> tuple[int, str]:
    """Pay an order: the status and the body."""
    response = who.call("pay_order", key=key, order_id=order_id)
    return response.status, response.text


def refund(who: As, order_id: int, amount: str, key: str) -> int:
    """Refund a part of an order: the status."""
    return who.call("refund_order", {"amount": amount}, key=key, order_id=order_id).status


def top_up(who: As, key: str) -> int:
    """Top up 10 tokens: the status."""
    return who.call("top_up", {"amount": 10}, key=key).status


def move(cause: str, tokens: int, payer: int, payee: int) -> str:
    """Make a transfer by hand: `moved`, or the name of the refusal."""
    made = Move(cause, "refund", account_of(payer), account_of(payee), tokens)
    try:
        postgres.users.write(lambda db: ledger.transfer(db, made))
    except InsufficientTokens as error:
        return type(error).__name__
    return "moved"


def deliver_one(consumer: str, body: str) -> list[str]:
    """Deliver one message: the ids of those that failed."""
    return deliver(consumer, body)


def test_of_twenty_payments_with_different_keys_one_settles(ada: As, bob: As, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    answers = at_once(pay, [(ada, order_id, str(number)) for number in range(20)])
    statuses = sorted(status for status, _ in answers)
    assert statuses == [201] + [409] * 19
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert len(stores.rows("itlc_orders", "SELECT * FROM payments")) == 1


def test_of_twenty_payments_with_one_key_one_settles_and_all_agree(ada: As, bob: As, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    answers = at_once(pay, [(ada, order_id, "k")] * 20)
    assert {status for status, _ in answers} <= {201, 409}
    assert len({text for status, text in answers if status == 201}) == 1
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert pay(ada, order_id, "k")[0] == 201


def test_only_as_many_orders_are_paid_as_there_are_tokens_for(ada: As, bob: As, stores: Stores) -> None:
    orders = payable(ada, bob, *["120.00"] * workers())
    answers = at_once(pay, [(ada, order_id, str(order_id)) for order_id in orders])
    statuses = sorted(status for status, _ in answers)
    assert statuses == [201] * 4 + [402] * (len(orders) - 4)
    assert tokens_of(stores, ada, bob) == [20, 480]
    left = stores.rows("itlc_orders", "SELECT * FROM orders WHERE status = 'completed'")
    assert len(left) == len(orders) - 4


def test_two_who_pay_each_other_do_not_wait_in_a_circle(ada: As, stores: Stores) -> None:
    cy = holder("Cy", 500)
    each = workers() // 2
    hers = [(ada, order_id, str(order_id)) for order_id in payable(ada, cy, *["10.00"] * each)]
    theirs = [(cy, order_id, str(order_id)) for order_id in payable(cy, ada, *["10.00"] * each)]
    answers = at_once(pay, [call for pair in zip(hers, theirs, strict=True) for call in pair])
    assert {status for status, _ in answers} == {201}
    assert tokens_of(stores, ada, cy) == [500, 500]


def test_refunds_at_once_never_give_back_more_than_was_paid(ada: As, bob: As, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "100.00")
    pay(ada, order_id, "k")
    statuses = at_once(refund, [(bob, order_id, "30.00", str(number)) for number in range(workers())])
    assert set(statuses) <= {201, 409}
    assert 1 <= statuses.count(201) <= 3
    back = 30 * statuses.count(201)
    assert tokens_of(stores, ada, bob) == [400 + back, 100 - back]
    assert refund(bob, order_id, f"{100 - back}.00", "the rest") == 201
    assert tokens_of(stores, ada, bob) == [500, 0]


def test_the_request_and_the_queue_run_the_same_payment_at_once(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        assert pay(ada, order_id, "k")[0] == 202
    for type in ("collect", "collected", "release"):
        (message,) = [message for message in outbox(stores) if json.loads(message[1])["type"] == type]
        assert at_once(deliver_one, [message] * 8) == [[]] * 8
    drain()
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert pay(ada, order_id, "k")[0] == 201


def test_a_transfer_is_made_once_for_its_cause(ada: As, bob: As, stores: Stores) -> None:
    calls = [("refund:once", 10, ada.user_id, bob.user_id)] * workers()
    assert at_once(move, calls) == ["moved"] * workers()
    assert tokens_of(stores, ada, bob) == [490, 10]


def test_nobody_goes_below_zero(ada: As, bob: As, stores: Stores) -> None:
    calls = [(f"refund:{number}", 150, ada.user_id, bob.user_id) for number in range(workers())]
    moved = at_once(move, calls)
    assert sorted(moved) == ["InsufficientTokens"] * (workers() - 3) + ["moved"] * 3
    assert tokens_of(stores, ada, bob) == [50, 450]


def test_top_ups_at_once_all_count(ada: As, stores: Stores) -> None:
    assert at_once(top_up, [(ada, str(number)) for number in range(workers())]) == [202] * workers()
    messages = [(consumer, body) for consumer, body in outbox(stores) if json.loads(body)["type"] == "credit"]
    assert at_once(deliver_one, messages[-workers() :]) == [[]] * workers()
    drain()
    assert tokens_of(stores, ada) == [500 + 10 * workers()]
