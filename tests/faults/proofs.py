"""What the mutants break, proved in a few seconds each: with the code whole, every proof holds."""

import json
import multiprocessing
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest
from itlc.access import Caller
from itlc.bids.service import reject_bid, take_bid
from itlc.errors import InsufficientTokens, StoreAway
from itlc.events import read_event
from itlc.idempotency import Key
from itlc.orders import repository as orders
from itlc.stores import postgres
from itlc.stores.postgres import Database
from itlc.wallet import ledger, payments
from itlc.wallet.model import Move, account_of
from itlc.wallet.saga import then
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.faults.dying import survives
from tests.faults.paths import left_to_the_queue, unsent
from tests.support.calling import As, deliver, run_scheduled
from tests.support.market import open_bid, order_in, project_of, service_of
from tests.support.money import holder, ledger_holds, tokens_of
from tests.support.queues import consumers, drain, receive_all, take_dead_letters
from tests.support.racing import become_a_worker
from tests.support.stack import Stores
from tests.support.waiting import eventually

T = TypeVar("T")


def dies_anywhere(*paths: str) -> "partial[None]":
    """The proof that these paths may be cut off anywhere."""
    return partial(_dies_anywhere, paths)


def _dies_anywhere(paths: tuple[str, ...], stores: Stores) -> None:
    for path in paths:
        survives(path, stores)


def _market(stores: Stores) -> tuple[As, As]:
    stores.empty()
    ada, bob = holder("Ada", 500), holder("Bob")
    drain()
    return ada, bob


def _ask(who: As, operation: str, body: object, key: str | None, ids: dict[str, Any]) -> int:
    return who.call(operation, body, key=key, **ids).status


def a_message_that_comes_twice_takes_effect_once(stores: Stores) -> None:
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob)
    assert ada.call("rate_order", {"rating": 5}, order_id=order_id).status == 200
    assert ada.call("top_up", {"amount": 7}, key="k").status == 202
    assert holder("Root", admin=True).call("change_project", {"name": "Park"}, project_id=project_of(ada)).status == 200
    for queue in ("topups", "notifications", "ratings", "audit"):
        bodies, consumer = receive_all(queue), consumers()[queue]
        assert bodies
        assert deliver(consumer, *bodies) == []
        assert deliver(consumer, *bodies) == []
    acts = "SELECT action, count(*) AS times FROM audit WHERE action <> 'forfeit' GROUP BY action, object"
    assert {(row["action"], row["times"]) for row in stores.rows("itlc_users", acts)} == {
        ("top_up", 1),
        ("change_project", 1),
    }
    assert tokens_of(stores, ada) == [507]
    told = stores.rows("itlc_orders", "SELECT event_id, user_id FROM notifications")
    assert len({(row["event_id"], row["user_id"]) for row in told}) == len(told)
    assert stores.rows("itlc_api", "SELECT rating_count, rating_sum FROM services") == [
        {"rating_count": 1, "rating_sum": 5}
    ]


def a_later_version_wins(stores: Stores) -> None:
    ada, bob = _market(stores)
    project_id = project_of(ada)
    order_id = order_in("in_progress", ada, bob, project_id=project_id)
    assert bob.call("check_in", {"status": "completed"}, order_id=order_id).status == 201
    for rating in (1, 5):
        assert ada.call("rate_order", {"rating": rating}, order_id=order_id).status == 200
    for queue, consumer in (("projects", "follow_orders"), ("ratings", "project_ratings")):
        bodies = sorted(receive_all(queue), key=lambda body: -json.loads(body).get("aggregate_version"))
        assert len(bodies) == 2
        for body in bodies:
            assert deliver(consumer, body) == []
    assert ada.call("read_project", project_id=project_id)["status"] == "completed"
    assert stores.rows("itlc_api", "SELECT rating_count, rating_sum FROM services") == [
        {"rating_count": 1, "rating_sum": 5}
    ]


def a_message_whose_store_is_away_comes_again(stores: Stores) -> None:
    ada, _ = _market(stores)
    assert ada.call("top_up", {"amount": 7}, key="k").status == 202
    (body,) = receive_all("topups")

    def away(database: Database, work: object) -> None:
        raise StoreAway(database.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "write", away)
        assert deliver("process_topups", body) == ["message-0"]
    assert deliver("process_topups", body) == []
    assert tokens_of(stores, ada) == [507]


def poison_is_buried_and_the_rest_goes_on(stores: Stores) -> None:
    ada, _ = _market(stores)
    assert ada.call("top_up", {"amount": 7}, key="k").status == 202
    (body,) = receive_all("topups")
    unknown = json.dumps({**json.loads(body), "type": "no such type", "id": str(uuid.uuid4())})
    assert deliver("process_topups", "not JSON {", unknown, body) == []
    assert len(take_dead_letters("topups")) == 2
    assert tokens_of(stores, ada) == [507]


def while_it_is_open(
    stores: Stores,
    database: Database,
    first: Callable[[Connection], object],
    second: Callable[..., T],
    *arguments: Any,
) -> T:
    """What `second(*arguments)` returns, called in another process while the transaction of `first` is still open; that
    one commits when the other has ended, or waits for it."""
    engine = database._engine(10, poolclass=NullPool)
    fork = multiprocessing.get_context("fork")
    waiting = "SELECT count(*) AS locks FROM pg_locks WHERE NOT granted"
    with ProcessPoolExecutor(1, mp_context=fork, initializer=become_a_worker) as pool, engine.connect() as connection:
        connection.info.update(database=database, emitted=[])
        with connection.begin():
            first(connection)
            answer = pool.submit(second, *arguments)
            eventually(
                lambda: answer.done() or stores.rows(database.name, waiting)[0]["locks"] > 0,
                "the second has ended, or waits for the first",
            )
        return answer.result(timeout=30)


def an_order_is_paid_once_whoever_asks(stores: Stores) -> None:
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob)
    second = (ada, "pay_order", None, "second", {"order_id": order_id})
    assert while_it_is_open(stores, postgres.orders, _begin_to_pay(ada, order_id), _ask, *second) == 409
    assert stores.rows("itlc_orders", "SELECT status FROM payments") == [{"status": "paying"}]


def _begin_to_pay(who: As, order_id: int) -> Callable[[Connection], None]:
    caller = Caller(who.user_id)

    def begin(db: Connection) -> None:
        key = Key(caller.name, "pay_order", "first", "-")
        payments.begin_payment(db, orders.orders_for_change(db, [order_id]), caller=caller, key=key)

    return begin


def a_key_that_is_worked_on_is_refused(stores: Stores) -> None:
    ada, _ = _market(stores)
    key = Key(f"user:{ada.user_id}", "top_up", "k", "-")
    second: tuple[Any, ...] = (ada, "top_up", {"amount": 7}, "k", {})
    assert while_it_is_open(stores, postgres.tokens, lambda db: postgres.keys.claim(db, key), _ask, *second) == 409
    assert stores.rows("itlc_tokens", "SELECT * FROM idempotency_keys") == [], "nobody's answer, so it is not kept"
    assert ada.call("top_up", {"amount": 7}, key="k").status == 202


def two_pay_from_one_balance(stores: Stores) -> None:
    ada, bob = _market(stores)

    def move(db: Connection) -> None:
        ledger.transfer(db, _move("refund:first", ada, bob))

    assert while_it_is_open(stores, postgres.users, move, _transfer, "refund:second", ada, bob) == "short"
    assert tokens_of(stores, ada, bob) == [100, 400]
    ledger_holds(stores)


def _move(cause: str, payer: As, payee: As) -> Move:
    assert payer.user_id is not None
    assert payee.user_id is not None
    return Move(cause, "refund", account_of(payer.user_id), account_of(payee.user_id), 400)


def _transfer(cause: str, payer: As, payee: As) -> str:
    try:
        postgres.users.write(lambda db: ledger.transfer(db, _move(cause, payer, payee)))
    except InsufficientTokens:
        return "short"
    return "moved"


def who_has_too_few_tokens_pays_nothing(stores: Stores) -> None:
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob, "501.00")
    assert ada.call("pay_order", key="k", order_id=order_id).status == 402
    assert tokens_of(stores, ada, bob) == [500, 0]


def a_bid_is_taken_once(stores: Stores) -> None:
    ada, bob = _market(stores)
    bid_id = open_bid(ada, service_of(bob))
    second = (bob, "make_order", None, "second", {"bid_id": bid_id})
    taken = partial(take_bid, bid_id=bid_id, caller=Caller(bob.user_id))
    assert while_it_is_open(stores, postgres.orders, taken, _ask, *second) == 409
    assert len(stores.rows("itlc_orders", "SELECT id FROM orders")) == 1


def a_bid_that_is_just_answered_does_not_expire(stores: Stores) -> None:
    ada, bob = _market(stores)
    bid_id = open_bid(ada, service_of(bob))
    stores.rows("itlc_orders", "UPDATE bidding SET created_at = now() - interval '40 days'")
    rejected = partial(reject_bid, bid_id=bid_id, caller=Caller(bob.user_id))
    assert while_it_is_open(stores, postgres.orders, rejected, run_scheduled, "expire_bids") == {"expired": 0}
    assert stores.rows("itlc_orders", "SELECT status FROM bidding") == [{"status": "rejected"}]


def an_order_that_is_just_paid_is_not_waived(stores: Stores) -> None:
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob)
    second: tuple[Any, ...] = (bob, "erase_me", None, None, {})
    assert while_it_is_open(stores, postgres.orders, _begin_to_pay(ada, order_id), _ask, *second) == 409
    assert stores.rows("itlc_orders", "SELECT status FROM orders") == [{"status": "paying"}]
    assert stores.rows("itlc_orders", "SELECT * FROM closed_accounts") == []


def no_more_is_given_back_than_was_paid(stores: Stores) -> None:
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob)
    assert ada.call("pay_order", key="k", order_id=order_id).status == 201
    assert bob.call("refund_order", {"amount": "120.01"}, key="too much", order_id=order_id).status == 409
    left_to_the_queue(lambda: bob.call("refund_order", {"amount": "100.00"}, key="most", order_id=order_id))
    assert bob.call("refund_order", {"amount": "100.00"}, key="more", order_id=order_id).status == 409
    drain()
    ledger_holds(stores)
    assert tokens_of(stores, ada, bob) == [480, 20]


def _expired_topup(stores: Stores) -> tuple[As, str]:
    """Who made a top-up that has expired, and its message, which comes late."""
    ada, _ = _market(stores)
    assert ada.call("top_up", {"amount": 7}, key="k").status == 202
    (late,) = receive_all("topups")
    stores.rows("itlc_tokens", "UPDATE token_topups SET created_at = now() - interval '2 hours'")
    run_scheduled("expire_topups")
    return ada, late


def a_top_up_that_expired_is_not_credited(stores: Stores) -> None:
    ada, late = _expired_topup(stores)
    assert deliver("process_topups", late) == []
    drain()
    ledger_holds(stores)
    assert tokens_of(stores, ada) == [500]


def what_has_expired_is_not_begun_by_another_message_that_says_the_same(stores: Stores) -> None:
    ada, late = _expired_topup(stores)
    assert deliver("process_topups", json.dumps({**json.loads(late), "id": str(uuid.uuid4())})) == []
    assert len(take_dead_letters("topups")) == 1
    assert tokens_of(stores, ada) == [500]


def nothing_is_released_before_the_payment_is_settled(stores: Stores) -> None:
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob)
    left_to_the_queue(lambda: ada.call("pay_order", key="k", order_id=order_id))
    collect = read_event("payments", receive_all("payments")[0])
    (collected,) = payments.SAGA.apply(collect)
    theirs = {**collect.payload, "provider_user_id": bob.user_id}
    del theirs["customer_id"]
    too_early = then(collected, "release", payments.Release.model_validate(theirs), part=f":{bob.user_id}")
    assert deliver("settle_payments", too_early.body()) == []
    assert len(take_dead_letters("payments")) == 1
    assert tokens_of(stores, ada, bob) == [380, 0]


def what_could_not_be_sent_is_swept_up(stores: Stores) -> None:
    ada, _ = _market(stores)
    unsent(lambda: ada.call("top_up", {"amount": 7}, key="k"))
    stores.rows("itlc_tokens", "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    run_scheduled("relay_outbox")
    drain()
    assert tokens_of(stores, ada) == [507]


def an_order_has_one_payment(stores: Stores) -> None:
    """Of the database alone, whatever the code does."""
    ada, bob = _market(stores)
    order_id = order_in("completed", ada, bob)
    assert ada.call("pay_order", key="k", order_id=order_id).status == 201
    drain()
    copied = (
        "SELECT gen_random_uuid(), customer_id, tokens, rate, status, key_caller, key_operation, 'x', key_fingerprint"
    )
    stores.rows(
        "itlc_orders",
        "INSERT INTO payments (id, customer_id, tokens, rate, status, key_caller, key_operation, key, key_fingerprint) "
        f"{copied} FROM payments",
    )
    with pytest.raises(IntegrityError, match="payment_orders_once"):
        stores.rows(
            "itlc_orders",
            "INSERT INTO payment_orders (payment_id, order_id, tokens, provider_user_id) "
            "SELECT p.id, o.order_id, o.tokens, o.provider_user_id FROM payments p, payment_orders o WHERE p.key = 'x'",
        )


def a_cause_moves_tokens_once(stores: Stores) -> None:
    ada, bob = _market(stores)
    for _ in range(2):
        try:
            (row,) = postgres.users.write(lambda db: ledger.transfer(db, _move("refund:once", ada, bob)))
        except (DBAPIError, InsufficientTokens) as error:
            raise AssertionError("it was to be made again") from error
        assert row.debit_balance == 100
    assert tokens_of(stores, ada, bob) == [100, 400]
