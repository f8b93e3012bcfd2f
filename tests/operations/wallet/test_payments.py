"""Paying for orders: settled at once, refused, cut off anywhere, and never twice."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from itlc import events
from itlc.errors import StoreAway
from itlc.settings import settings
from itlc.stores import postgres
from itlc.wallet import payments
from itlc.wallet.saga import Cause, Limit, Saga

from tests.support.calling import As, Response, deliver, nobody
from tests.support.market import order_in
from tests.support.money import (
    deliver_again,
    give,
    holder,
    ledger_holds,
    money,
    outbox,
    payable,
    tokens_of,
)
from tests.support.queues import dead_letters, drain
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


@pytest.fixture
def order(ada: As, bob: As) -> int:
    """A completed order of Ada's with Bob, for 120."""
    (order_id,) = payable(ada, bob, "120.00")
    return order_id


def pay(who: As, order_id: int, key: str = "k") -> Response:
    """Pay an order."""
    return who.call("pay_order", key=key, order_id=order_id)


def order_row(stores: Stores, order_id: int) -> dict[str, Any]:
    """An order as it is."""
    (row,) = stores.rows("itlc_orders", "SELECT * FROM orders WHERE id = :id", id=order_id)
    return row


def test_a_completed_order_is_paid_at_once(ada: As, bob: As, order: int, stores: Stores) -> None:
    response = pay(ada, order)
    assert (response.status, response.json) == (201, {"order_id": order, "tokens_charged": 120, "balance": 380})
    assert tokens_of(stores, ada, bob) == [380, 120]
    row = order_row(stores, order)
    assert (row["status"], row["tokens_charged"]) == ("paid", 120)
    assert row["paid_at"] is not None
    debit = ada.call("list_ledger")["items"][0]
    assert (debit["kind"], debit["direction"], debit["tokens"]) == ("payment", "debit", 120)
    assert (debit["balance_after"], debit["order_id"], debit["topup_id"]) == (380, order, None)
    (credit,) = bob.call("list_ledger")["items"]
    assert (credit["kind"], credit["direction"], credit["tokens"]) == ("payment", "credit", 120)
    assert (credit["balance_after"], credit["order_id"]) == (120, order)

    drain()
    told = stores.rows("itlc_orders", "SELECT * FROM notifications WHERE message LIKE '%was paid%'")
    assert [(row["user_id"], row["about"]) for row in told] == [(bob.user_id, f"order:{order}")]
    (audited,) = stores.rows("itlc_orders", "SELECT * FROM audit WHERE action = 'pay_order'")
    assert (audited["actor_id"], audited["object"]) == (ada.user_id, f"order:{order}")
    assert audited["after"] == {"status": "paid", "tokens_charged": 120}
    assert audited["request_id"] == response.headers["X-Request-Id"]


def test_the_queue_finds_all_done_however_often_and_in_whatever_order(
    ada: As, bob: As, order: int, stores: Stores
) -> None:
    pay(ada, order)
    before = money(stores)
    for seed in range(2):
        deliver_again(stores, seed=seed)
    drain()
    assert money(stores) == before
    assert len(stores.rows("itlc_orders", "SELECT * FROM notifications WHERE message LIKE '%was paid%'")) == 1


def test_the_same_key_gets_the_same_answer(ada: As, order: int, stores: Stores) -> None:
    first = pay(ada, order)
    again = pay(ada, order)
    assert (again.status, again.text, again.headers["ETag"]) == (201, first.text, first.headers["ETag"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert tokens_of(stores, ada) == [380]
    (other,) = payable(ada, holder("Cy"), "10.00")
    assert pay(ada, other).status == 422  # the key was for another path
    assert pay(ada, order, "another key").status == 409


@pytest.mark.parametrize("status", ["created", "in_progress", "paying", "refunded", "cancelled"])
def test_only_completed_orders_are_paid(stores: Stores, status: str) -> None:
    ada, bob = holder("Ada", 500), holder("Bob")
    response = pay(ada, order_in(status, ada, bob))
    assert (response.status, response["type"]) == (409, "urn:itlc:problem:conflict")
    assert f"the order is {status}" in response["detail"]
    assert tokens_of(stores, ada, bob) == [500, 0]
    assert stores.rows("itlc_orders", "SELECT * FROM payments") == []


def test_only_the_customer_pays(ada: As, bob: As, order: int, stores: Stores) -> None:
    admin, stranger = holder("Eve", 500, admin=True), holder("Sam", 500)
    assert pay(bob, order).status == 403
    assert pay(admin, order).status == 403
    assert pay(stranger, order).status == 404
    assert pay(nobody, order).status == 401
    assert pay(ada, 4711).status == 404
    assert ada.call("pay_order", order_id=order).status == 400
    assert ada.call("pay_order", {"amount": 1}, key="k", order_id=order).status == 422
    assert tokens_of(stores, ada, bob, admin, stranger) == [500, 0, 500, 500]
    assert order_row(stores, order)["status"] == "completed"


def test_an_ended_session_pays_nothing(ada: As, order: int, stores: Stores) -> None:
    stores.rows("itlc_users", "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'")
    assert pay(ada, order).status == 401
    assert tokens_of(stores, ada) == [500]


def test_with_too_few_tokens_it_stays_to_be_paid(ada: As, bob: As, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "500.50")
    first = pay(ada, order_id)
    assert (first.status, first["type"]) == (402, "urn:itlc:problem:insufficient-tokens")
    assert first["detail"].startswith("This costs 501 tokens; your balance is 500.")
    assert first["instance"] == first.headers["X-Request-Id"]
    row = order_row(stores, order_id)
    assert (row["status"], row["tokens_charged"], row["paid_at"]) == ("completed", None, None)
    give(ada.user_id or 0, 1)
    again = pay(ada, order_id)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (402, first.text, "true")
    before = money(stores)
    deliver_again(stores)
    assert money(stores) == before
    assert pay(ada, order_id, "another key")["balance"] == 0
    assert tokens_of(stores, ada, bob) == [0, 501]


@pytest.mark.parametrize(
    ("amount", "rate", "tokens"),
    [("0.50", "1", 1), ("2.50", "1", 3), ("2.49", "1", 2), ("33.33", "1.5", 50), ("0.01", "10", 0), ("7.00", "0.5", 4)],
)
def test_tokens_are_the_amount_times_the_rate_rounded_half_up(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch, amount: str, rate: str, tokens: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ITLC_TOKEN_RATE", rate)
        settings.cache_clear()
        (order_id,) = payable(ada, bob, amount)
        assert pay(ada, order_id).json == {
            "order_id": order_id,
            "tokens_charged": tokens,
            "balance": 500 - tokens,
        }
    settings.cache_clear()
    assert tokens_of(stores, ada, bob) == [500 - tokens, tokens]
    assert order_row(stores, order_id)["status"] == "paid"


def test_an_order_worth_no_whole_token_is_paid_with_none(ada: As, bob: As, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "0.49")
    assert pay(ada, order_id)["tokens_charged"] == 0
    assert order_row(stores, order_id)["status"] == "paid"
    assert len(stores.rows("itlc_users", "SELECT * FROM transfers")) == 1  # the top-up


def test_nobody_who_is_gone_or_too_full_is_paid(ada: As, bob: As, order: int, stores: Stores) -> None:
    stores.rows("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=bob.user_id)
    gone = pay(ada, order)
    assert (gone.status, gone["detail"]) == (409, "The provider's account is gone: nobody can be paid.")
    stores.rows("itlc_users", "UPDATE users SET erased_at = NULL WHERE id = :id", id=bob.user_id)
    for _ in range(2):
        give(bob.user_id or 0, 1_000_000_000)
    give(bob.user_id or 0, 147_483_600)
    full = pay(ada, order, "k2")
    assert full.status == 409
    assert "too full" in full["detail"]
    assert order_row(stores, order)["status"] == "completed"
    assert pay(ada, order, "k2").text == full.text
    assert tokens_of(stores, ada) == [500]


def test_more_than_a_balance_can_hold_is_refused_at_once(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("ITLC_TOKEN_RATE", "3")
        settings.cache_clear()
        (order_id,) = payable(ada, bob, "1000000000.00")
        assert pay(ada, order_id).status == 402
    settings.cache_clear()
    assert order_row(stores, order_id)["status"] == "completed"


# Cut off


class Cut(Exception):
    """The process ends here."""


def cut(patch: pytest.MonkeyPatch, database: postgres.Database, transaction: int, error: Exception) -> None:
    """Let every transaction of `database` from that one on fail before it begins."""
    seen = 0
    write = database.write

    def counted(work: Callable[[Any], Any]) -> Any:
        nonlocal seen
        seen += 1
        if seen >= transaction:
            raise error
        return write(work)

    patch.setattr(database, "write", counted)


@pytest.mark.parametrize("error", [StoreAway("a store"), Cut()])
@pytest.mark.parametrize(
    ("database", "transaction", "moved"),
    [(postgres.users, 1, 0), (postgres.orders, 2, 120)],
    ids=["before the ledger", "before the pivot"],
)
def test_cut_off_before_the_pivot_it_answers_202_and_the_queue_settles(
    ada: As,
    bob: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
    moved: int,
    error: Exception,
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, database, transaction, error)
        response = pay(ada, order)
    assert (response.status, response.json) == (202, {"order_id": order, "status": "paying"})
    assert ada.call("read_order", order_id=order)["status"] == "paying"
    assert tokens_of(stores, ada, bob) == [500 - moved, 0]
    ledger_holds(stores)
    running = pay(ada, order)
    assert (running.status, running.headers["Retry-After"]) == (409, "1")
    assert pay(ada, order, "another key").status == 409

    drain()
    settled = pay(ada, order)
    assert (settled.status, settled.json) == (201, {"order_id": order, "tokens_charged": 120, "balance": 380})
    assert settled.headers["Idempotency-Replayed"] == "true"
    assert tokens_of(stores, ada, bob) == [380, 120]


@pytest.mark.parametrize(("database", "transaction"), [(postgres.users, 1), (postgres.orders, 2)])
def test_who_asks_again_goes_on_with_what_was_cut_off(
    ada: As,
    bob: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, database, transaction, Cut())
        assert pay(ada, order).status == 202
    assert pay(ada, order).status == 409, "the first request may still be running"
    stores.rows("itlc_orders", "UPDATE idempotency_keys SET created_at = created_at - interval '26 seconds'")
    assert ada.call("pay_order", {"rush": True}, key="k", order_id=order).status == 422
    settled = pay(ada, order)
    assert (settled.status, settled.json) == (201, {"order_id": order, "tokens_charged": 120, "balance": 380})
    assert tokens_of(stores, ada, bob) == [380, 120]
    drain()
    again = pay(ada, order)
    assert (again.text, again.headers["Idempotency-Replayed"]) == (settled.text, "true")
    assert tokens_of(stores, ada, bob) == [380, 120]


@pytest.mark.parametrize("when", ["inside", "after"])
@pytest.mark.parametrize(
    ("database", "transaction"),
    [(postgres.orders, 1), (postgres.users, 1), (postgres.orders, 2), (postgres.users, 2)],
    ids=["begin", "collect", "pivot", "release"],
)
def test_cut_off_before_or_after_any_commit_it_is_paid_once(
    ada: As,
    bob: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
    when: str,
) -> None:
    seen = 0
    write = database.write

    def cut_in(work: Callable[[Any], Any]) -> Any:
        nonlocal seen
        seen += 1
        if seen != transaction:
            return write(work)
        if when == "after":
            write(work)
            raise Cut

        def then_cut(db: Any) -> None:
            work(db)
            raise Cut

        return write(then_cut)

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", cut_in)
        first = pay(ada, order)
    answers = {(postgres.orders, 1): 500, (postgres.users, 1): 202, (postgres.orders, 2): 202, (postgres.users, 2): 201}
    committed_the_pivot = database is postgres.orders and transaction == 2 and when == "after"
    assert first.status == (201 if committed_the_pivot else answers[database, transaction])
    ledger_holds(stores)
    drain()
    final = pay(ada, order)
    assert (final.status, final.json) == (201, {"order_id": order, "tokens_charged": 120, "balance": 380})
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert len(stores.rows("itlc_orders", "SELECT * FROM payments")) == 1


def test_cut_off_after_the_pivot_it_is_paid_and_the_queue_releases(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        response = pay(ada, order)
    assert (response.status, response["balance"]) == (201, 380)
    assert tokens_of(stores, ada, bob) == [380, 0]
    ledger_holds(stores)
    drain()
    assert tokens_of(stores, ada, bob) == [380, 120]


def test_a_refusal_that_was_cut_off_is_answered_by_the_key(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order_id,) = payable(ada, bob, "501.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert pay(ada, order_id).status == 202
    drain()
    assert pay(ada, order_id).status == 402
    assert order_row(stores, order_id)["status"] == "completed"


def test_with_the_orders_away_after_the_pivot_it_answers_202_not_503(
    ada: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise StoreAway("itlc_orders")

    def run_then_lose_sight(saga: Saga, event: events.Event, limit: Limit) -> None:
        run(saga, event, limit)
        monkeypatch.setattr(postgres.orders, "read", away)

    run = Saga.run
    monkeypatch.setattr(Saga, "run", run_then_lose_sight)
    assert pay(ada, order).status == 202
    monkeypatch.undo()
    assert pay(ada, order).status == 201


def test_a_201_says_that_the_provider_has_the_tokens_whoever_went_on_with_the_payment(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Saga.apply
    by_the_queue: list[str] = []

    def after_the_queue(saga: Saga, event: events.Event) -> Any:
        if event.type == "collected" and not by_the_queue:
            by_the_queue.append(event.id)
            assert deliver("settle_payments", event.body()) == []
        return apply(saga, event)

    with monkeypatch.context() as patch:
        patch.setattr(Saga, "apply", after_the_queue)
        patch.setattr(events, "send_now", lambda emitted, published: None)
        assert pay(ada, order).status == 201
    assert by_the_queue
    assert tokens_of(stores, ada, bob) == [380, 120]


@pytest.mark.parametrize(
    ("seconds", "status", "tokens"),
    [(3, 201, [380, 120]), (4.5, 201, [380, 0]), (6, 202, [380, 0])],
    ids=["it begins what is owed after 6 s", "but not after 9 s", "and no other step after 6 s"],
)
def test_a_request_leaves_to_the_queue_what_takes_too_long(
    ada: As,
    bob: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    status: int,
    tokens: list[int],
) -> None:
    apply, clock = Saga.apply, time.monotonic
    late = 0.0

    def slowly(saga: Saga, event: events.Event) -> Any:
        nonlocal late
        late += seconds
        return apply(saga, event)

    with monkeypatch.context() as patch:
        patch.setattr(Saga, "apply", slowly)
        patch.setattr(time, "monotonic", lambda: clock() + late)
        response = pay(ada, order)
    assert response.status == status
    assert tokens_of(stores, ada, bob) == tokens
    drain()
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert pay(ada, order).status == 201


def test_with_the_queues_away_it_is_settled_all_the_same(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(items: Any) -> set[str]:
        raise StoreAway("SQS")

    monkeypatch.setattr(events, "send", away)
    assert pay(ada, order).status == 201
    assert tokens_of(stores, ada, bob) == [380, 120]


def _forget_for_whom(stores: Stores) -> None:
    """Escrows of before 0002 do not say of whom and for whom they are: no room is kept for what they hold."""
    stores.rows("itlc_users", "UPDATE full_escrows SET tokens = NULL, payer_id = NULL, payee_id = NULL")


def _begin(who: As, order_id: int, stores: Stores, patch: pytest.MonkeyPatch) -> events.Event:
    """Begin to pay, and be cut off."""
    with patch.context() as inner:
        cut(inner, postgres.users, 1, Cut())
        assert pay(who, order_id).status == 202
    (body,) = [body for _, body in outbox(stores) if json.loads(body)["type"] == "collect"]
    return events.read_event("payments", body)


def test_step_by_step_each_three_times(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = _begin(ada, order, stores, monkeypatch)
    (collected,) = payments.SAGA.apply(collect)
    assert tokens_of(stores, ada, bob) == [380, 0]
    for _ in range(2):  # what was done is not done again, but what follows from it is still known
        (again,) = payments.SAGA.apply(collect)
        assert (again.id, again.type, again.payload) == (collected.id, "collected", collected.payload)
    (release,) = payments.SAGA.apply(collected)
    assert order_row(stores, order)["status"] == "paid"
    assert tokens_of(stores, ada, bob) == [380, 0]
    for _ in range(2):
        payments.SAGA.apply(collected)
    for _ in range(3):
        assert payments.SAGA.apply(release) == []
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert pay(ada, order).status == 201


def test_a_message_that_comes_again_is_not_judged_by_what_is_left_meanwhile(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order_id,) = payable(ada, bob, "300.00")
    collect = _begin(ada, order_id, stores, monkeypatch)
    payments.SAGA.apply(collect)
    assert tokens_of(stores, ada) == [200]  # no longer enough: but the tokens are in escrow
    for _ in range(3):
        assert deliver("settle_payments", collect.body()) == []
    assert "declined" not in {json.loads(body)["type"] for _, body in outbox(stores)}
    drain()
    assert pay(ada, order_id).status == 201
    assert tokens_of(stores, ada, bob) == [200, 300]


def test_a_payment_that_was_overtaken_gives_the_tokens_back(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = _begin(ada, order, stores, monkeypatch)
    (collected,) = payments.SAGA.apply(collect)
    stores.rows("itlc_orders", "UPDATE orders SET status = 'cancelled' WHERE id = :id", id=order)
    (back,) = payments.SAGA.apply(collected)
    assert back.type == "give_back"
    payments.SAGA.apply(back)
    drain()
    assert tokens_of(stores, ada, bob) == [500, 0]
    refused = pay(ada, order)
    assert (refused.status, refused.headers["Idempotency-Replayed"]) == (409, "true")
    assert order_row(stores, order)["status"] == "cancelled"
    (payment,) = stores.rows("itlc_orders", "SELECT * FROM payments")
    assert payment["status"] == "declined"


def test_a_payment_of_no_token_that_was_overtaken_has_nothing_to_give_back(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order_id,) = payable(ada, bob, "0.40")
    (collected,) = payments.SAGA.apply(_begin(ada, order_id, stores, monkeypatch))
    stores.rows("itlc_orders", "UPDATE orders SET status = 'cancelled' WHERE id = :id", id=order_id)
    assert payments.SAGA.apply(collected) == []
    assert pay(ada, order_id).status == 409
    assert [row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM payments")] == ["declined"]


def test_what_is_released_to_somebody_erased_meanwhile_goes_to_the_house(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        pay(ada, order)
    stores.rows("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=bob.user_id)
    drain()
    (last,) = stores.rows("itlc_users", "SELECT * FROM transfers ORDER BY sequence DESC LIMIT 1")
    assert (last["kind"], last["credit_account"], last["tokens"]) == ("forfeit", "house:forfeit", 120)
    assert tokens_of(stores, bob) == [0]


def test_room_is_kept_for_what_is_on_the_way(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in (ada, bob):
        for tokens in (1_000_000_000, 1_000_000_000, 147_483_000):
            give(who.user_id or 0, tokens)
    cy = holder("Cy", 500)
    (other,) = payable(cy, bob, "100.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert pay(ada, order).status == 201  # for Bob, who has room for 647 tokens; or back to Ada, for 147 and these
        assert tokens_of(stores, ada, bob) == [2_147_483_380, 2_147_483_000]
    for who, room in ((ada, 147), (bob, 527)):
        for tokens, status in ((room + 1, "failed"), (room, "completed")):
            give(who.user_id or 0, tokens)
            newest = "SELECT status FROM token_topups WHERE user_id = :id ORDER BY id DESC LIMIT 1"
            assert stores.rows("itlc_tokens", newest, id=who.user_id) == [{"status": status}]
    refused = pay(cy, other)
    assert refused.status == 409, "another customer's tokens have no room"
    assert "too full" in refused["detail"]
    drain()
    assert tokens_of(stores, ada, bob) == [2_147_483_527, 2_147_483_647]


def test_a_release_waits_until_there_is_room(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        pay(ada, order)
    _forget_for_whom(stores)
    for tokens in (1_000_000_000, 1_000_000_000, 147_483_647):
        give(bob.user_id or 0, tokens)
    (release,) = [body for _, body in outbox(stores) if json.loads(body)["type"] == "release"]
    assert deliver("settle_payments", release) == ["message-0"]  # it will be tried again
    cy = holder("Cy")
    (other,) = payable(bob, cy, "1000.00")
    assert pay(bob, other).status == 201
    drain()
    assert tokens_of(stores, bob) == [2_147_483_647 - 1000 + 120]


REFUND = {"refund_id": str(uuid.UUID(int=1)), "payment_id": None, "customer_id": None, "orders": None}
"""What every message of a refund has, and what it has not."""


@pytest.mark.parametrize(
    ("type", "payload", "reason"),
    [
        ("collect", {"customer_id": 4711}, "there is no user 4711"),
        ("collect", {"customer_id": "me"}, "customer_id"),
        ("collect", {"orders": []}, "orders"),
        ("collect", {"orders": [{"order_id": 1, "tokens": -5, "provider_user_id": 1}]}, "orders.0.tokens"),
        ("collect", {"more": 1}, "more"),
        ("declined", {"reason": "short", "balance": 1, "customer_id": None, "orders": None}, "there is no payment"),
        ("release", {"provider_user_id": 1, "customer_id": None}, "escrow"),
        ("release", {"provider_user_id": 4711, "customer_id": None}, "there is no user 4711"),
        ("give_back", {}, "escrow"),
        ("give_back", {"customer_id": 4711}, "there is no user 4711"),
        ("pay", {}, "there is no event type 'pay'"),
        ("collect", {"customer_id": 2**31}, "customer_id"),
        ("refunded", {}, "refund_id"),
        ("refund", {**REFUND, "order_id": 1, "payer_id": 4711, "payee_id": 1, "tokens": 5}, "there is no user 4711"),
        ("refund", {**REFUND, "order_id": 1, "payer_id": 1, "payee_id": 1, "tokens": 0}, "tokens"),
        ("refunded", {**REFUND, "balance": 0}, "there is no refund"),
        ("refund_declined", {**REFUND, "reason": "short", "balance": 0}, "there is no refund"),
    ],
)
def test_a_message_that_can_never_succeed_is_buried(
    ada: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    type: str,
    payload: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setattr(Cause, "confirm", lambda cause, event: None)  # the steps look for themselves, too
    shares = [{"order_id": order, "tokens": 120, "provider_user_id": 1}]
    full = {"payment_id": str(uuid.uuid4()), "customer_id": ada.user_id, "orders": shares, **payload}
    message = {
        "schema": 1,
        "type": type,
        "aggregate": "payment:x",
        "payload": {name: value for name, value in full.items() if value is not None},
        "id": str(uuid.uuid4()),
        "created_at": "2026-01-01T00:00:00+00:00",
        "aggregate_version": None,
        "request_id": None,
    }
    before = money(stores)
    assert deliver("settle_payments", json.dumps(message)) == []
    (dead,) = dead_letters("payments")
    assert reason in dead["reason"]
    assert money(stores) == before


def test_tokens_of_a_payment_that_nobody_knows_go_back(ada: As, bob: As, order: int, stores: Stores) -> None:
    payment_id = uuid.uuid4()
    share = payments.Share(order_id=order, tokens=120, provider_user_id=bob.user_id or 0)
    asked = payments.Collect(payment_id=payment_id, customer_id=ada.user_id or 0, orders=(share,))
    collect = events.event("payments", "collect", "payment:lost", asked.model_dump(mode="json"))
    payments.SAGA.run(collect)
    assert tokens_of(stores, ada, bob) == [500, 0]
    assert order_row(stores, order)["status"] == "completed"
    kinds = [row["kind"] for row in stores.rows("itlc_users", "SELECT kind FROM transfers ORDER BY sequence")]
    assert kinds == ["topup", "payment", "payment"]
    assert pay(ada, order).status == 201


def test_a_key_that_ran_out_meanwhile_changes_nothing_for_the_money(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        pay(ada, order)
    stores.rows("itlc_orders", "UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    refused = pay(ada, order)
    assert refused.status == 409  # a new request: the order is being paid
    drain()
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert order_row(stores, order)["status"] == "paid"
    assert pay(ada, order).text == refused.text  # what was begun under the key before does not answer for it
