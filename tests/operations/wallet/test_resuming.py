"""What was left under way is set going again from the rows alone: every message of it lost, no dead letter redriven."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from itlc.errors import StoreAway
from itlc.events import event
from itlc.stores import postgres
from itlc.wallet import ledger, payments, refunds, repository, resuming, tables
from itlc.wallet.model import Move, account_of, escrow_of
from itlc.wallet.saga import Saga
from sqlalchemy import select

from tests.operations.wallet.test_payments import Cut, cut, order_row, pay
from tests.support.calling import As, deliver, run_scheduled
from tests.support.market import project_of
from tests.support.money import give, holder, ledger_holds, outbox, payable, tokens_of
from tests.support.queues import dead_letters, drain, receive_all
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


def lose_every_message(stores: Stores) -> dict[str, Any]:
    """Let time pass, in which all messages became dead letters; returns what each event of money had said, by id."""
    receive_all("payments")
    old = "now() - interval '3 minutes'"
    stores.rows("itlc_orders", f"UPDATE payments SET created_at = {old}")
    stores.rows("itlc_orders", f"UPDATE refunds SET created_at = {old}")
    stores.rows("itlc_users", f"UPDATE full_escrows SET created_at = {old}")
    return said(stores)


def said(stores: Stores) -> dict[str, Any]:
    """What each event of money says, by its id."""
    events = [json.loads(body) for _, body in outbox(stores)]
    return {event["id"]: (event["type"], event["aggregate"], event["payload"]) for event in events}


def resume() -> dict[str, int]:
    """Run the job once."""
    return run_scheduled("resume_payments")


def settled(ada: As, order_id: int) -> None:
    """Assert that the payment under the key `k` has its answer."""
    answer = pay(ada, order_id)
    assert (answer.status, answer.json) == (201, {"order_id": order_id, "tokens_charged": 120, "balance": 380})


def test_where_nothing_was_left_nothing_is_sent(ada: As, order: int, stores: Stores) -> None:
    assert pay(ada, order).status == 201
    lose_every_message(stores)
    assert resume() == {"resumed": 0, "left": 0}
    assert receive_all("payments") == []


@pytest.mark.parametrize(
    ("database", "transaction", "type"),
    [(postgres.users, 1, "collect"), (postgres.orders, 2, "collected")],
    ids=["before the ledger", "before the pivot"],
)
def test_a_payment_goes_on_where_it_stands(
    ada: As,
    bob: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
    type: str,
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, database, transaction, Cut())
        assert pay(ada, order).status == 202
    before = lose_every_message(stores)
    assert resume() == {"resumed": 1, "left": 0}
    (body,) = receive_all("payments")
    message = json.loads(body)
    assert message["type"] == type
    assert before[message["id"]] == (type, message["aggregate"], message["payload"])  # the same, by id and by content
    resume()
    drain()
    assert tokens_of(stores, ada, bob) == [380, 120]
    settled(ada, order)


def test_a_payment_that_was_declined_goes_on(ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    (order_id,) = payable(ada, bob, "600.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert pay(ada, order_id).status == 202
    lose_every_message(stores)
    assert resume() == {"resumed": 1, "left": 0}
    drain()
    assert pay(ada, order_id).status == 402
    assert order_row(stores, order_id)["status"] == "completed"


def test_an_escrow_is_released_to_each_provider(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    cy, project = holder("Cy"), project_of(ada)
    payable(ada, bob, "10.00", "20.00", project_id=project)
    payable(ada, cy, "40.00", "0.40", project_id=project)
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert ada.call("pay_project", key="k", project_id=project).status == 201
    before = lose_every_message(stores)
    assert resume() == {"resumed": 2, "left": 0}
    assert said(stores) == before  # nothing new: the events that there were
    for body in receive_all("payments"):
        message = json.loads(body)
        assert before[message["id"]] == ("release", message["aggregate"], message["payload"])
    resume()
    drain()
    assert tokens_of(stores, ada, bob, cy) == [430, 30, 40]
    assert resume() == {"resumed": 0, "left": 0}


def test_an_escrow_is_released_though_its_event_was_purged(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert pay(ada, order).status == 201
    before = lose_every_message(stores)
    for database in ("itlc_orders", "itlc_users"):
        stores.rows(database, "DELETE FROM outbox")
    assert resume() == {"resumed": 1, "left": 0}
    assert said(stores).items() <= before.items()
    drain()
    assert tokens_of(stores, ada, bob) == [380, 120]


def test_a_payment_goes_on_though_what_the_ledger_said_was_purged(
    ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order_id,) = payable(ada, bob, "450.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert pay(ada, order_id).status == 202
    lose_every_message(stores)
    stores.rows("itlc_users", "DELETE FROM outbox")
    assert resume() == {"resumed": 1, "left": 0}
    drain()
    answer = pay(ada, order_id)  # the 50 that she has left are not asked to be 450 once more
    assert (answer.status, answer["balance"]) == (201, 50)
    assert tokens_of(stores, ada, bob) == [50, 450]


def test_a_refund_goes_on_though_what_the_ledger_said_was_purged(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pay(ada, order).status == 201
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert bob.call("refund_order", key="back", order_id=order).status == 202
    lose_every_message(stores)
    stores.rows("itlc_users", "DELETE FROM outbox")
    assert resume() == {"resumed": 1, "left": 0}
    drain()
    assert bob.call("refund_order", key="back", order_id=order).status == 201
    assert tokens_of(stores, ada, bob) == [500, 0]
    assert order_row(stores, order)["status"] == "refunded"


def test_what_a_declined_payment_holds_goes_back(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.orders, 2, Cut())
        assert pay(ada, order).status == 202
    stores.rows("itlc_orders", "UPDATE orders SET status = 'cancelled' WHERE id = :id", id=order)
    with monkeypatch.context() as patch:
        apply = Saga.apply

        def without_give_back(saga: Saga, event: Any) -> Any:
            if event.type == "give_back":
                raise Cut
            return apply(saga, event)

        patch.setattr(Saga, "apply", without_give_back)
        lose_every_message(stores)
        resume()
        for body in receive_all("payments"):  # the pivot is overtaken, what follows is lost
            assert deliver("settle_payments", body) == []
    assert tokens_of(stores, ada) == [380]
    before = lose_every_message(stores)
    assert resume() == {"resumed": 1, "left": 0}
    assert said(stores) == before
    drain()
    assert tokens_of(stores, ada, bob) == [500, 0]


@pytest.mark.parametrize(
    ("database", "transaction", "type"),
    [(postgres.users, 1, "refund"), (postgres.orders, 2, "refunded")],
    ids=["before the ledger", "before it is settled"],
)
def test_a_refund_goes_on_where_it_stands(
    ada: As,
    bob: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
    type: str,
) -> None:
    assert pay(ada, order).status == 201
    drain()
    with monkeypatch.context() as patch:
        cut(patch, database, transaction, Cut())
        assert bob.call("refund_order", {"amount": "20.00"}, key="r", order_id=order).status == 202
    before = lose_every_message(stores)
    assert resume() == {"resumed": 1, "left": 0}
    (body,) = receive_all("payments")
    message = json.loads(body)
    assert before[message["id"]] == (type, message["aggregate"], message["payload"])
    assert message["type"] == type
    resume()
    drain()
    assert tokens_of(stores, ada, bob) == [400, 100]
    answer = bob.call("refund_order", {"amount": "20.00"}, key="r", order_id=order)
    assert (answer.status, answer["tokens"]) == (201, 20)


@pytest.mark.parametrize(("transaction", "status"), [(1, 202), (2, 201)], ids=["a payment", "an escrow"])
def test_what_has_just_begun_is_left_to_itself(
    ada: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch, transaction: int, status: int
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, transaction, Cut())
        assert pay(ada, order).status == status
    receive_all("payments")
    assert resume() == {"resumed": 0, "left": 0}
    lose_every_message(stores)
    resume()
    drain()
    settled(ada, order)


def test_what_is_made_again_from_the_rows_is_what_was_applied(ada: As, bob: As, stores: Stores) -> None:
    cy, project = holder("Cy"), project_of(ada)
    paid, *_ = payable(ada, bob, "10.00", "20.00", project_id=project)
    payable(ada, cy, "40.00", "0.40", project_id=project)
    assert ada.call("pay_project", key="k", project_id=project).status == 201
    assert bob.call("refund_order", {"amount": "5.00"}, key="r", order_id=paid).status == 201
    drain()
    with postgres.orders.read() as db:
        payment = db.execute(select(tables.payments)).one()
        refund = db.execute(select(tables.refunds)).one()
        covered = repository.orders_of_payment(db, payment.id)
        made = [payments.first_of(payment, covered), refunds.first_of(db, refund)]
        made += [payments.release_of(payment, covered, who.user_id or 0) for who in (bob, cy)]
    before = said(stores)
    assert [before[event.id] for event in made] == [(event.type, event.aggregate, event.payload) for event in made]
    assert deliver("settle_payments", *(event.body() for event in made)) == []
    assert dead_letters("payments") == []
    other = replace(made[0], payload={**made[0].payload, "customer_id": bob.user_id})
    assert deliver("settle_payments", other.body()) == []
    assert [letter["body"] for letter in dead_letters("payments")] == [other.body()]


def test_tokens_for_which_there_is_no_room_wait_until_there_is(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert pay(ada, order).status == 201
    stores.rows("itlc_users", "UPDATE full_escrows SET payee_id = NULL")  # as of one that was filled before 0002
    for _ in range(2):
        give(bob.user_id or 0, 1_000_000_000)
    give(bob.user_id or 0, 147_483_600)
    lose_every_message(stores)
    assert resume() == {"resumed": 0, "left": 1}
    assert receive_all("payments") == []  # it would only become a dead letter, every five minutes one more
    assert dead_letters("payments") == []


def test_what_cannot_be_read_keeps_no_other_from_being_resumed(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        assert pay(ada, order).status == 202
    spoilt = uuid.uuid4()
    stores.rows(
        "itlc_orders",
        "INSERT INTO payments (id, customer_id, tokens, rate, status, key_caller, key_operation, key, key_fingerprint) "
        "VALUES (:id, 1, 0, 1, 'paying', 'user:1', 'pay_order', 'spoilt', '-')",
        id=spoilt,
    )
    stores.rows("itlc_users", "INSERT INTO full_escrows (account) VALUES ('escrow:spoilt')")
    lose_every_message(stores)
    assert resume() == {"resumed": 1, "left": 2}
    named = {getattr(record, "about", None) for record in caplog.records if record.message == "not resumed"}
    assert named == {str(spoilt), "escrow:spoilt"}
    drain()
    settled(ada, order)


def test_tokens_of_a_payment_that_nobody_knows_are_left_and_keep_no_others_waiting(
    ada: As, bob: As, order: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = payments.Share(order_id=order, tokens=5, provider_user_id=bob.user_id or 0)
    asked = payments.Collect(payment_id=uuid.uuid4(), customer_id=ada.user_id or 0, orders=(share,))
    (collected,) = payments.SAGA.apply(event("payments", "collect", "payment:lost", asked.model_dump(mode="json")))
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert pay(ada, order).status == 201
    lose_every_message(stores)
    assert resume() == {"resumed": 1, "left": 1}
    drain()
    assert tokens_of(stores, ada, bob) == [375, 120]
    payments.SAGA.run(collected)
    assert tokens_of(stores, ada) == [380]


def test_tokens_for_an_order_that_their_payment_does_not_cover_are_left(
    ada: As, bob: As, order: int, stores: Stores
) -> None:
    assert pay(ada, order).status == 201
    (payment,) = stores.rows("itlc_orders", "SELECT id FROM payments")
    escrow, hers = escrow_of(payment["id"], 4711), account_of(ada.user_id or 0)
    postgres.users.write(lambda db: ledger.transfer(db, Move("astray", "payment", hers, escrow, 5)))
    lose_every_message(stores)
    assert resume() == {"resumed": 0, "left": 1}
    postgres.users.write(lambda db: ledger.transfer(db, Move("and back", "payment", escrow, hers, 5)))


@pytest.mark.parametrize("away", [postgres.users, postgres.orders], ids=lambda database: database.name)
def test_while_a_database_is_away_nothing_is_sent(
    ada: As,
    order: int,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    away: postgres.Database,
) -> None:
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        assert pay(ada, order).status == 202
    lose_every_message(stores)

    def refuse(*_: Any) -> Any:
        raise StoreAway(away.name)

    with monkeypatch.context() as patch:
        patch.setattr(away, "read", refuse)
        with pytest.raises(StoreAway):
            resume()
    assert receive_all("payments") == []
    resume()
    drain()
    settled(ada, order)


def test_many_are_set_going_in_batches(ada: As, bob: As, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "BATCH", 2)
    orders = payable(ada, bob, *["10.00"] * 5)
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        for order_id in orders:
            assert pay(ada, order_id, str(order_id)).status == 202
    lose_every_message(stores)
    assert resume() == {"resumed": 5, "left": 0}
    drain()
    assert tokens_of(stores, ada, bob) == [450, 50]
