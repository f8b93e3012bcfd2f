"""Many at once on the same money, order, bid or token, each in a process of its own: one wins, the others are told so,
and whatever the order in which they came, no token and no order is lost, doubled or made of nothing."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from itlc import events
from itlc.access import Caller
from itlc.bids.service import take_bid
from itlc.errors import InsufficientTokens
from itlc.notices import notice
from itlc.orders import repository
from itlc.orders.closing import close_account
from itlc.stores import outbox as outboxes
from itlc.stores import postgres
from itlc.wallet import ledger
from itlc.wallet.model import Move, account_of
from sqlalchemy import Connection

from tests.faults.aftermath import all_holds, let_time_pass, recover
from tests.faults.crew import Call, Crew
from tests.faults.paths import run_through
from tests.faults.proofs import while_it_is_open
from tests.faults.scale import scaled
from tests.operations.wallet.test_payments import Cut, cut
from tests.support.calling import As, deliver, nobody, operation, run_scheduled
from tests.support.market import open_bid, order_in, project_of, service_of
from tests.support.money import holder, ledger_holds, outbox, payable, tokens_of
from tests.support.people import PASSWORD, email_of, person
from tests.support.queues import receive_all
from tests.support.stack import Stores

MANY = scaled(full=40, share=10)
ONE_KEY = scaled(full=20, share=10)
PAYABLE = scaled(full=16, share=4)
"""Of so many orders as are raced for, the customer can pay these."""
RACED = (
    "pay_order pay_project refund_order top_up make_order withdraw_bid reject_bid cancel_order check_in erase_me "
    "refresh_session settle_payments process_topups deliver_notifications expire_topups resume_payments relay_outbox "
    "expire_bids place_bid delete_project"
)


@pytest.fixture(scope="module")
def crew(endpoints: Any) -> Iterator[Crew]:
    """Warm workers, who know the operations before they are forked."""
    for name in RACED.split():
        operation(name)
    with Crew(MANY) as crew:
        yield crew


@pytest.fixture(params=range(scaled(full=10, share=1)))
def ada(stores: Stores, request: pytest.FixtureRequest) -> Iterator[As]:
    """Ada, a customer with 500 tokens. After every race the ledger holds, at once; and once the queues are empty, so
    does everything that reconciliation looks at. Each race is run so many times."""
    yield holder("Ada", 500)
    ledger_holds(stores)
    recover(stores)
    all_holds(stores)
    for table, status in (("payments", "paying"), ("refunds", "refunding"), ("orders", "paying")):
        assert stores.rows("itlc_orders", f"SELECT * FROM {table} WHERE status = '{status}'") == []
    assert stores.rows("itlc_tokens", "SELECT * FROM token_topups WHERE status = 'pending'") == []


@pytest.fixture
def bob(ada: As) -> As:
    """Bob, a provider without tokens."""
    return holder("Bob")


# What a worker does


def ask(who: As, name: str, body: Any = None, key: str | None = None, ids: Any = ()) -> tuple[int, str]:
    """Call an operation: the status and the body."""
    response = who.call(name, body, key=key, **dict(ids))
    return response.status, response.text


def pay(who: As, order_id: int, key: str) -> tuple[int, str]:
    """Pay an order: the status and the body."""
    return ask(who, "pay_order", None, key, {"order_id": order_id})


def refund(who: As, order_id: int, amount: str | None, key: str) -> tuple[int, str]:
    """Refund a part of an order, or all: the status and the body."""
    return ask(who, "refund_order", {"amount": amount} if amount else None, key, {"order_id": order_id})


def cancel(who: As, order_id: int) -> tuple[int, str]:
    """Cancel an order: the status and the body."""
    return ask(who, "cancel_order", {"reason": "No time."}, None, {"order_id": order_id})


def check_in(who: As, order_id: int, status: str) -> tuple[int, str]:
    """Check in: the status and the body."""
    return ask(who, "check_in", {"status": status}, None, {"order_id": order_id})


def move(cause: str, tokens: int, payer: int, payee: int) -> str:
    """Make a transfer by hand: `moved`, or the name of the refusal."""
    made = Move(cause, "refund", account_of(payer), account_of(payee), tokens)
    try:
        postgres.users.write(lambda db: ledger.transfer(db, made))
    except InsufficientTokens as error:
        return type(error).__name__
    return "moved"


def closes(db: Connection, project_id: str) -> None:
    """Close a project, as its deletion begins."""
    repository.hold_project(db, project_id)
    repository.close_project(db, project_id)


def race(crew: Crew, stores: Stores, calls: Sequence[Call]) -> list[tuple[int, str]]:
    """The answers to requests with keys, made at once. Who is told 202 or 503, for too many waited for one row, asks
    again under the same key once the queues have done the rest."""
    answers: list[tuple[int, str]] = crew.at_once(calls)
    if not {202, 503} & {status for status, _ in answers}:
        return answers
    recover(stores)
    return [
        call(*arguments) if answer[0] in (202, 503) else answer
        for (call, arguments), answer in zip(calls, answers, strict=True)
    ]


# What is looked at


def statuses(answers: list[tuple[int, str]]) -> Counter[int]:
    """How often each status was answered."""
    return Counter(status for status, _ in answers)


def order_row(stores: Stores, order_id: int) -> dict[str, Any]:
    """An order as it is."""
    (row,) = stores.rows("itlc_orders", "SELECT * FROM orders WHERE id = :id", id=order_id)
    return row


def count(stores: Stores, table: str, database: str = "itlc_orders") -> int:
    """How many rows a table has."""
    (row,) = stores.rows(database, f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


def messages(stores: Stores, type: str) -> list[tuple[str, str]]:
    """What was emitted to a money queue, of one type: the consumer and the message."""
    return [found for found in outbox(stores) if json.loads(found[1])["type"] == type]


# Payments


def test_of_many_payments_with_different_keys_one_settles(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    answers = race(crew, stores, [(pay, (ada, order_id, str(number))) for number in range(MANY)])
    assert statuses(answers) == {201: 1, 409: MANY - 1}
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert order_row(stores, order_id)["status"] == "paid"
    assert count(stores, "payments") == count(stores, "payment_orders") == 1
    assert count(stores, "transfers", "itlc_users") == 3


def test_of_many_payments_with_one_key_one_settles_and_all_agree(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    answers = race(crew, stores, [(pay, (ada, order_id, "k"))] * ONE_KEY)
    assert set(statuses(answers)) <= {201, 409}
    assert {json.loads(text)["type"] for status, text in answers if status == 409} <= {"urn:itlc:problem:still-running"}
    (settled,) = {text for status, text in answers if status == 201}
    assert pay(ada, order_id, "k") == (201, settled)
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert count(stores, "payments") == 1
    assert count(stores, "transfers", "itlc_users") == 3


def test_only_as_many_orders_are_paid_as_there_are_tokens_for(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    cy = holder("Cy", PAYABLE * 25 + 24)
    orders = payable(cy, bob, *["25.00"] * MANY)
    answers = race(crew, stores, [(pay, (cy, order_id, str(order_id))) for order_id in orders])
    assert statuses(answers) == {201: PAYABLE, 402: MANY - PAYABLE}
    assert tokens_of(stores, cy, bob) == [24, PAYABLE * 25]
    left = Counter(row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM orders"))
    assert left == {"paid": PAYABLE, "completed": MANY - PAYABLE}
    ended = Counter(row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM payments"))
    assert ended == {"settled": PAYABLE, "declined": MANY - PAYABLE}


def test_two_who_pay_each_other_do_not_wait_in_a_circle(ada: As, crew: Crew, stores: Stores) -> None:
    cy = holder("Cy", 500)
    each = MANY // 2
    hers = [(pay, (ada, order_id, str(order_id))) for order_id in payable(ada, cy, *["10.00"] * each)]
    theirs = [(pay, (cy, order_id, str(order_id))) for order_id in payable(cy, ada, *["10.00"] * each)]
    answers = race(crew, stores, [call for pair in zip(hers, theirs, strict=True) for call in pair])
    assert statuses(answers) == {201: 2 * each}
    assert tokens_of(stores, ada, cy) == [500, 500]
    recover(stores)
    assert {row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM orders")} == {"paid"}
    assert tokens_of(stores, ada, cy) == [500, 500]


def test_a_project_and_its_orders_are_paid_once_whoever_comes_first(
    ada: As, bob: As, crew: Crew, stores: Stores
) -> None:
    project = project_of(ada)
    orders = payable(ada, bob, *["40.00"] * 4, project_id=project)
    alone: list[Call] = [(pay, (ada, id, f"alone {id}")) for id in orders]
    whole = [(ask, (ada, "pay_project", None, f"whole {n}", {"project_id": project})) for n in range(MANY - 4)]
    answers = race(crew, stores, [*whole[::2], *alone, *whole[1::2]])
    assert set(statuses(answers)) == {201, 409}
    charged = [json.loads(text)["tokens_charged"] for status, text in answers if status == 201]
    assert sum(charged) == 160
    assert tokens_of(stores, ada, bob) == [340, 160]
    assert {order_row(stores, id)["status"] for id in orders} == {"paid"}
    (progress,) = stores.rows("itlc_orders", "SELECT status FROM project_progress")
    assert progress["status"] == "paid"


def test_a_project_that_is_just_getting_another_order_is_not_paid_without_it(ada: As, bob: As, stores: Stores) -> None:
    project = project_of(ada)
    payable(ada, bob, "40.00", project_id=project)
    taken = partial(take_bid, bid_id=open_bid(ada, service_of(bob), project_id=project), caller=Caller(bob.user_id))
    arguments = (ask, ada, "pay_project", None, "k", {"project_id": project})
    assert while_it_is_open(stores, postgres.orders, taken, *arguments)[0] == 409
    assert count(stores, "payments") == 0


def test_a_project_with_too_few_tokens_is_paid_not_at_all(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    project = project_of(ada)
    cy = holder("Cy")
    for provider in (bob, bob, cy):  # none of whom would get more than she has
        payable(ada, provider, "200.00", project_id=project)
    paid = race(crew, stores, [(ask, (ada, "pay_project", None, str(n), {"project_id": project})) for n in range(MANY)])
    assert set(statuses(paid)) <= {402, 409}
    assert statuses(paid)[402] >= 1
    assert tokens_of(stores, ada, bob, cy) == [500, 0, 0]
    assert count(stores, "transfers", "itlc_users") == 1  # the top-up
    assert {row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM orders")} == {"completed"}


def test_the_request_the_queue_and_the_job_run_the_same_payment_at_once(
    ada: As, bob: As, crew: Crew, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 1, Cut())
        assert pay(ada, order_id, "k")[0] == 202
    let_time_pass(stores, 3)
    for type in ("collect", "collected", "release"):
        (message,) = messages(stores, type)
        delivered: list[Call] = [(deliver, message)] * (MANY - 2)
        answers = crew.at_once([*delivered, *[(run_scheduled, ("resume_payments",))] * 2])
        assert answers[:-2] == [[]] * (MANY - 2)
    assert tokens_of(stores, ada, bob) == [380, 120]
    assert pay(ada, order_id, "k")[0] == 201
    assert count(stores, "transfers", "itlc_users") == 3


# Refunds


def test_refunds_at_once_never_give_back_more_than_was_paid(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "100.00")
    pay(ada, order_id, "k")
    answers = statuses(race(crew, stores, [(refund, (bob, order_id, "30.00", str(n))) for n in range(MANY)]))
    assert set(answers) <= {201, 409}
    assert 1 <= answers[201] <= 3
    back = 30 * answers[201]
    assert tokens_of(stores, ada, bob) == [400 + back, 100 - back]
    assert order_row(stores, order_id)["refunded_tokens"] == back
    assert refund(bob, order_id, f"{100 - back}.00", "the rest")[0] == 201
    assert tokens_of(stores, ada, bob) == [500, 0]
    assert order_row(stores, order_id)["status"] == "refunded"


@pytest.mark.parametrize("keys", ["one key", "many keys"])
def test_all_is_given_back_once(ada: As, bob: As, crew: Crew, stores: Stores, keys: str) -> None:
    (order_id,) = payable(ada, bob, "100.00")
    pay(ada, order_id, "k")
    raced = range(ONE_KEY)
    answers = race(crew, stores, [(refund, (bob, order_id, None, "k" if keys == "one key" else str(n))) for n in raced])
    assert set(statuses(answers)) <= {201, 409}
    assert len({text for status, text in answers if status == 201}) == 1
    assert keys == "one key" or statuses(answers)[201] == 1
    assert tokens_of(stores, ada, bob) == [500, 0]
    assert (count(stores, "refunds"), order_row(stores, order_id)["status"]) == (1, "refunded")


def test_a_refund_comes_after_its_payment_or_not_at_all(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    half = MANY // 2
    pays: list[Call] = [(pay, (ada, order_id, str(number))) for number in range(half)]
    refunds: list[Call] = [(refund, (bob, order_id, "50.00", str(number))) for number in range(half)]
    answers = race(crew, stores, [call for pair in zip(pays, refunds, strict=True) for call in pair])
    assert statuses(answers[::2]) == {201: 1, 409: half - 1}
    given_back = statuses(answers[1::2])
    assert set(given_back) <= {201, 402, 409}  # 402 while the tokens are in escrow still
    back = 50 * given_back[201]
    assert back <= 120
    assert tokens_of(stores, ada, bob) == [380 + back, 120 - back]
    assert order_row(stores, order_id)["status"] == "paid"


# Bids and orders


def test_of_many_who_take_one_bid_one_gets_the_order(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    bid_id = open_bid(ada, service_of(bob), project_id=project_of(ada))
    answers = crew.same(ask, [(bob, "make_order", None, None, {"bid_id": bid_id})] * MANY)
    assert statuses(answers) == {201: 1, 409: MANY - 1}
    (order,) = stores.rows("itlc_orders", "SELECT * FROM orders")
    (bid,) = stores.rows("itlc_orders", "SELECT * FROM bidding")
    assert (bid["status"], bid["order_id"], order["bid_id"]) == ("won", order["id"], bid_id)


def test_a_bid_ends_in_one_way(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    bid_id = open_bid(ada, service_of(bob))
    stores.rows("itlc_orders", "UPDATE bidding SET created_at = created_at - interval '40 days'")
    ways: list[tuple[As, str]] = [(bob, "make_order"), (ada, "withdraw_bid"), (bob, "reject_bid")] * (MANY // 3)
    calls: list[Call] = [(ask, (who, name, None, None, {"bid_id": bid_id})) for who, name in ways]
    answers = crew.at_once([*calls, (run_scheduled, ("expire_bids",))])
    won = {name for (_, name), (status, _) in zip(ways, answers[:-1], strict=True) if status < 300}
    assert set(statuses(answers[:-1])) <= {200, 201, 204, 409}
    expired = sum(answers[-1].values())
    ends = {"make_order": "won", "withdraw_bid": "withdrawn", "reject_bid": "rejected"}
    (bid,) = stores.rows("itlc_orders", "SELECT * FROM bidding")
    assert [ends[name] for name in won] + ["expired"] * expired == [bid["status"]]
    assert sum(status < 300 for status, _ in answers[:-1]) + expired == 1
    assert count(stores, "orders") == (bid["status"] == "won")


def test_a_project_is_deleted_or_gets_its_order(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    service_id = service_of(bob)
    taken = 0
    for _ in range(scaled(full=4, share=2)):
        projects = [project_of(ada) for _ in range(MANY // 2)]
        calls: list[Call] = []
        for project_id in projects:
            bid_id = open_bid(ada, service_id, project_id=project_id)
            calls += [
                (ask, (bob, "make_order", None, None, {"bid_id": bid_id})),
                (ask, (ada, "delete_project", None, None, {"project_id": project_id})),
            ]
        answers = crew.at_once(calls)
        for (took, why), (gone, _) in zip(answers[::2], answers[1::2], strict=True):
            assert (took, gone) in {(201, 409), (409, 204)}, why
        taken += statuses(answers[::2])[201]
    assert count(stores, "orders") == count(stores, "project_progress") == len(stores.documents("projects")) == taken


def test_a_project_waits_with_its_deletion_for_an_order_that_is_being_made(ada: As, bob: As, stores: Stores) -> None:
    project_id = project_of(ada)
    taken = partial(take_bid, bid_id=open_bid(ada, service_of(bob), project_id=project_id), caller=Caller(bob.user_id))
    deleted = (ada, "delete_project", None, None, {"project_id": project_id})
    assert while_it_is_open(stores, postgres.orders, taken, ask, *deleted)[0] == 409
    assert len(stores.documents("projects")) == count(stores, "orders") == 1


@pytest.mark.parametrize("comes", ["an order", "a bid"])
def test_whoever_comes_while_a_project_closes_waits_and_is_refused(
    ada: As, bob: As, stores: Stores, comes: str
) -> None:
    service_id, project_id = service_of(bob), project_of(ada)
    bid_id = open_bid(ada, service_id, project_id=project_id)
    calls: dict[str, tuple[Any, ...]] = {
        "an order": (bob, "make_order", None, None, {"bid_id": bid_id}),
        "a bid": (ada, "place_bid", {"amount": 5, "project_id": project_id}, None, {"service_id": service_id}),
    }
    closing = partial(closes, project_id=project_id)
    assert while_it_is_open(stores, postgres.orders, closing, ask, *calls[comes])[0] == 409
    assert (count(stores, "orders"), count(stores, "bidding")) == (0, 1)


def test_an_order_is_begun_and_completed_once(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    order_id = order_in("created", ada, bob)
    for status in ("started", "completed"):
        answers = crew.same(check_in, [(bob, order_id, status)] * MANY)
        assert statuses(answers) == {201: 1, 409: MANY - 1}
    checkins = stores.rows("itlc_orders", "SELECT status FROM checkins ORDER BY id")
    assert [row["status"] for row in checkins] == ["started", "completed"]


def test_an_order_is_cancelled_or_completed_never_both(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    order_id = order_in("in_progress", ada, bob)
    third = MANY // 3
    completing: list[Call] = [(check_in, (bob, order_id, "completed"))] * third
    cancelling: list[Call] = [(cancel, (who, order_id)) for who in (ada, bob) for _ in range(third)]
    answers = crew.at_once([*cancelling[::2], *completing, *cancelling[1::2]])
    assert sum(status < 300 for status, _ in answers) == 1
    assert set(statuses(answers)) <= {200, 201, 409}
    row = order_row(stores, order_id)
    assert row["status"] == ("completed" if 201 in statuses(answers) else "cancelled")
    assert (row["completed_at"] is None, row["cancelled_at"] is None) == (
        row["status"] == "cancelled",
        row["status"] == "completed",
    )
    assert tokens_of(stores, ada, bob) == [500, 0]


def test_what_was_cancelled_is_not_paid(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    order_id = order_in("in_progress", ada, bob)
    third = MANY // 3
    calls: list[Call] = []
    for number in range(third):
        calls += [
            (cancel, (ada, order_id)),
            (check_in, (bob, order_id, "completed")),
            (pay, (ada, order_id, f"{number}")),
        ]
    answers = race(crew, stores, calls)
    assert set(statuses(answers)) <= {200, 201, 409}
    cancelled, completed, paid = (statuses(answers[kind::3]) for kind in range(3))
    assert cancelled[200] + completed[201] == 1
    assert paid[201] <= completed[201]
    status = order_row(stores, order_id)["status"]
    assert status == ("cancelled" if cancelled[200] else "paid" if paid[201] else "completed")
    assert tokens_of(stores, ada, bob) == ([380, 120] if paid[201] else [500, 0])


# Top-ups


def test_a_top_up_with_one_key_is_made_once(ada: As, crew: Crew, stores: Stores) -> None:
    answers = crew.same(ask, [(ada, "top_up", {"amount": 10}, "k")] * ONE_KEY)
    assert set(statuses(answers)) <= {202, 409}
    assert len({text for status, text in answers if status == 202}) == 1
    recover(stores)
    assert tokens_of(stores, ada) == [510]
    assert count(stores, "token_topups", "itlc_tokens") == 2  # with the one that she began with


def test_top_ups_at_once_all_count(ada: As, crew: Crew, stores: Stores) -> None:
    made = crew.same(ask, [(ada, "top_up", {"amount": 10}, str(number)) for number in range(MANY)])
    assert statuses(made) == {202: MANY}
    credits = [message for message in messages(stores, "credit") if '"topup_id":1,' not in message[1].replace(" ", "")]
    assert len(credits) == MANY
    assert crew.same(deliver, credits) == [[]] * MANY
    assert tokens_of(stores, ada) == [500 + 10 * MANY]


def test_one_message_delivered_many_times_at_once_credits_once(ada: As, crew: Crew, stores: Stores) -> None:
    assert ask(ada, "top_up", {"amount": 10}, "k")[0] == 202
    assert crew.same(deliver, [messages(stores, "credit")[-1]] * MANY) == [[]] * MANY
    assert tokens_of(stores, ada) == [510]


def test_a_top_up_that_expires_while_it_is_credited_is_one_or_the_other(ada: As, crew: Crew, stores: Stores) -> None:
    for number in range(MANY // 2):
        assert ask(ada, "top_up", {"amount": 10}, str(number))[0] == 202
    credits = messages(stores, "credit")
    let_time_pass(stores, 61)
    calls: list[Call] = [(deliver, message) for message in credits]
    answers = crew.at_once([*calls, *[(run_scheduled, ("expire_topups",))] * (MANY - len(calls))])
    for message, failed in zip(credits, answers, strict=False):
        assert failed == [] or deliver(*message) == [], "who waited too long for the balance comes again"
    recover(stores)
    ended = Counter(row["status"] for row in stores.rows("itlc_tokens", "SELECT status FROM token_topups"))
    assert set(ended) <= {"completed", "failed"}
    assert ended["completed"] + ended["failed"] == MANY // 2 + 1
    assert tokens_of(stores, ada) == [490 + 10 * ended["completed"]]


# The ledger


def test_a_transfer_is_made_once_for_its_cause(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    assert crew.same(move, [("refund:once", 10, ada.user_id, bob.user_id)] * MANY) == ["moved"] * MANY
    assert tokens_of(stores, ada, bob) == [490, 10]
    assert crew.same(move, [("refund:once", 10, ada.user_id, bob.user_id)] * MANY) == ["moved"] * MANY
    stores.empty()  # for these belong to no order


def test_nobody_goes_below_zero(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    moved = crew.same(move, [(f"refund:{number}", 150, ada.user_id, bob.user_id) for number in range(MANY)])
    assert Counter(moved) == {"moved": 3, "InsufficientTokens": MANY - 3}
    assert tokens_of(stores, ada, bob) == [50, 450]
    ledger_holds(stores)
    stores.empty()


# Whoever leaves


def test_a_customer_leaves_with_nothing_left_to_pay(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    erasing: list[Call] = [(ask, (ada, "erase_me"))] * (MANY // 2)
    paying: list[Call] = [(pay, (ada, order_id, str(number))) for number in range(MANY // 2)]
    answers = crew.at_once([call for pair in zip(erasing, paying, strict=True) for call in pair])
    assert set(statuses(answers[::2])) <= {202, 401, 409}
    assert statuses(answers[1::2])[201] + statuses(answers[1::2])[202] == 1
    assert set(statuses(answers[1::2])) <= {201, 202, 401, 409}
    recover(stores)
    assert order_row(stores, order_id)["status"] == "paid"
    left = 202 in statuses(answers[::2])
    assert tokens_of(stores, ada, bob) == [0 if left else 380, 120]


def test_a_provider_leaves_with_the_tokens_or_without_the_order(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    (order_id,) = payable(ada, bob, "120.00")
    erasing: list[Call] = [(ask, (bob, "erase_me"))] * (MANY // 2)
    paying: list[Call] = [(pay, (ada, order_id, str(number))) for number in range(MANY // 2)]
    answers = crew.at_once([call for pair in zip(erasing, paying, strict=True) for call in pair])
    assert set(statuses(answers[::2])) <= {202, 401, 409}
    assert set(statuses(answers[1::2])) <= {201, 202, 409}
    recover(stores)
    paid = bool({201, 202} & set(statuses(answers[1::2])))
    assert order_row(stores, order_id)["status"] == ("paid" if paid else "cancelled")
    assert paid or 202 in statuses(answers[::2])
    assert tokens_of(stores, ada) == [380 if paid else 500]
    gone = stores.rows("itlc_users", "SELECT * FROM users WHERE id = :id AND erased_at IS NOT NULL", id=bob.user_id)
    assert tokens_of(stores, bob) == [120 if paid and not gone else 0]


def test_who_leaves_while_topping_up_leaves_no_tokens_behind(ada: As, crew: Crew, stores: Stores) -> None:
    half = MANY // 2
    for number in range(half):
        assert ask(ada, "top_up", {"amount": 10}, str(number))[0] == 202
    credits: list[Call] = [(deliver, message) for message in messages(stores, "credit")[-half:]]
    answers = crew.at_once([*credits[::2], *[(ask, (ada, "erase_me"))] * half, *credits[1::2]])
    assert 202 in {answer[0] for answer in answers if answer}
    recover(stores)
    assert tokens_of(stores, ada) == [0]
    (forfeited,) = stores.rows("itlc_users", "SELECT sum(tokens) AS n FROM transfers WHERE kind = 'forfeit'")
    ended = Counter(row["status"] for row in stores.rows("itlc_tokens", "SELECT status FROM token_topups"))
    assert set(ended) <= {"completed", "failed"}
    assert forfeited["n"] == 490 + 10 * ended["completed"]


def test_nobody_who_has_left_gets_an_order(ada: As, bob: As, crew: Crew, stores: Stores) -> None:
    service_id = service_of(bob)
    taken = left = 0
    for batch in range(scaled(full=4, share=2)):
        bidders = [holder(f"Bidder{batch}x{number}") for number in range(MANY // 2)]
        bids = [open_bid(bidder, service_id) for bidder in bidders]
        taking: list[Call] = [(ask, (bob, "make_order", None, None, {"bid_id": bid_id})) for bid_id in bids]
        leaving: list[Call] = [(ask, (bidder, "erase_me")) for bidder in bidders]
        answers = crew.at_once([call for pair in zip(taking, leaving, strict=True) for call in pair])
        for (took, _), (gone, _) in zip(answers[::2], answers[1::2], strict=True):
            assert (took, gone) in {(201, 409), (409, 202)}
        taken += statuses(answers[::2])[201]
        left += statuses(answers[1::2])[202]
    assert count(stores, "orders") == taken
    assert count(stores, "closed_accounts") == left


def test_whoever_leaves_waits_for_an_order_that_is_being_made(ada: As, bob: As, stores: Stores) -> None:
    taken = partial(take_bid, bid_id=open_bid(ada, service_of(bob)), caller=Caller(bob.user_id))
    assert while_it_is_open(stores, postgres.orders, taken, ask, ada, "erase_me")[0] == 409
    assert (count(stores, "orders"), count(stores, "closed_accounts")) == (1, 0)


def test_whoever_leaves_while_they_are_leaving_leaves_once(ada: As, stores: Stores) -> None:
    leaving = partial(close_account, caller=Caller(ada.user_id))
    assert while_it_is_open(stores, postgres.orders, leaving, ask, ada, "erase_me")[0] == 202
    assert (count(stores, "closed_accounts"), count(stores, "outbox WHERE type = 'erase'")) == (1, 1)


@pytest.mark.parametrize("comes", ["an order", "a bid"])
def test_whoever_comes_while_an_account_closes_waits_and_is_refused(
    ada: As, bob: As, stores: Stores, comes: str
) -> None:
    service_id = service_of(bob)
    bid_id = open_bid(ada, service_id)
    calls: dict[str, tuple[Any, ...]] = {
        "an order": (bob, "make_order", None, None, {"bid_id": bid_id}),
        "a bid": (ada, "place_bid", {"amount": 5}, None, {"service_id": service_id}),
    }
    leaving = partial(close_account, caller=Caller(ada.user_id))
    assert while_it_is_open(stores, postgres.orders, leaving, ask, *calls[comes])[0] == 409
    assert (count(stores, "orders"), count(stores, "bidding")) == (0, 1)
    run_through(lambda: ada.call("erase_me"))  # what it has begun is done, too


# Messages and tokens of sessions


def test_a_message_delivered_many_times_at_once_tells_once(ada: As, crew: Crew, stores: Stores) -> None:
    told = notice("order:1", "Once.", users=[ada.user_id])
    answers = crew.same(deliver, [("deliver_notifications", told.body())] * ONE_KEY)
    assert answers == [[]] * ONE_KEY
    rows = stores.rows("itlc_orders", "SELECT * FROM notifications WHERE message = 'Once.'")
    assert [row["user_id"] for row in rows] == [ada.user_id]


def test_relays_at_once_send_each_event_once(
    ada: As, crew: Crew, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    recover(stores)
    waiting = [notice("order:1", str(number), users=[ada.user_id]) for number in range(scaled(full=250, share=120))]

    def emit(db: Connection) -> None:
        for one in waiting:
            outboxes.emit(db, one)

    with monkeypatch.context() as patch:
        patch.setattr(events, "send_now", lambda emitted, published: None)
        postgres.orders.write(emit)
    let_time_pass(stores, 1)
    counts = crew.same(run_scheduled, [("relay_outbox",)] * 4)
    assert sum(count["sent"] for count in counts) == len(waiting)
    sent = [json.loads(body)["id"] for body in receive_all("notifications")]
    assert sorted(sent) == sorted(one.id for one in waiting)
    assert deliver("deliver_notifications", *[one.body() for one in waiting]) == []
    assert count(stores, "notifications WHERE about = 'order:1'") == len(waiting)


def test_a_refresh_token_used_many_times_at_once_is_spent_once_and_its_session_ends(
    ada: As, crew: Crew, stores: Stores
) -> None:
    person("Grace")
    signed_in = nobody.call("sign_in", {"email": email_of("Grace"), "password": PASSWORD})
    spent = {"refresh_token": signed_in["refresh_token"]}
    answers = crew.same(ask, [(nobody, "refresh_session", spent)] * ONE_KEY)
    assert statuses(answers) == {201: 1, 401: ONE_KEY - 1}
    (successor,) = [json.loads(text)["refresh_token"] for status, text in answers if status == 201]
    assert ask(nobody, "refresh_session", {"refresh_token": successor})[0] == 401
    sessions = stores.rows(
        "itlc_users",
        "SELECT end_reason FROM sessions JOIN refresh_tokens ON session_id = sessions.id WHERE spent_at IS NOT NULL",
    )
    assert [row["end_reason"] for row in sessions] == ["token_reused"]
