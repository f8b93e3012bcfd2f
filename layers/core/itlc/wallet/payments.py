"""Payments: of one order or of all of a project's, the same saga for both, all or nothing.

    begin ──collect──▶ ledger ──collected──▶ pivot ──release──▶ ledger: escrow → provider
                          └────declined───▶ undo   └─give_back─▶ ledger: escrow → customer

`begin`, the pivot and `undo` commit in `itlc_orders`, the others in `itlc_users`. The pivot decides: before it, the
tokens are in escrow and the orders `paying`; with it, the orders are `paid` and the answer is kept under the key of the
request that began it. An order worth no whole token is paid with none: it takes the same way, without transfers.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, func

from itlc import audit
from itlc.access import Caller
from itlc.answers import Reply, problem
from itlc.errors import Conflict, Forbidden, InsufficientTokens, ItlcError, Poison
from itlc.events import Event
from itlc.fields import Id, View, tokens_of
from itlc.idempotency import Key
from itlc.notices import notice
from itlc.orders import model as order_rules
from itlc.orders import repository as orders
from itlc.orders.service import refresh_progress, visible
from itlc.settings import settings
from itlc.stores import outbox, postgres
from itlc.wallet import ledger, repository, unfinished
from itlc.wallet.model import (
    FORFEIT,
    MAX_TOKENS,
    EscrowNotHeld,
    Move,
    Reason,
    account_of,
    cause_id,
    escrow_of,
    refused_payment,
    why_not,
)
from itlc.wallet.saga import WHOLE, Cause, Payload, Saga, Step, first_event, said, sent_by, then
from itlc.wallet.schemas import ChargedOrder, PaidOrder, PaidProject, PayingOrder, PayingProject
from itlc.wallet.under_key import begin_under_key, created, keep_answer, key_columns, run_on

CONSUMER = "settle_payments"
QUEUE = "payments"
MOST_ORDERS = 200
"""So many orders are paid at once, at most: each step, one transaction, has to end well within its function's time."""


class Share(Payload):
    """One order of a payment: what it costs and who is paid."""

    order_id: Id
    tokens: int = Field(ge=0)
    provider_user_id: Id


class Collect(Payload):
    """The customer's tokens are to go into escrow."""

    payment_id: uuid.UUID
    customer_id: Id
    orders: tuple[Share, ...] = Field(min_length=1)


class Collected(Collect):
    """They did. `balance` is what the customer has left."""

    balance: int = Field(ge=0, le=MAX_TOKENS)


class Declined(Payload):
    """They did not."""

    payment_id: uuid.UUID
    reason: Reason
    balance: int | None


class Release(Payload):
    """One provider's user is to get what is in escrow for them."""

    payment_id: uuid.UUID
    provider_user_id: Id
    orders: tuple[Share, ...] = Field(min_length=1)


class GiveBack(Payload):
    """The customer is to get back what is in escrow."""

    payment_id: uuid.UUID
    customer_id: Id
    orders: tuple[Share, ...] = Field(min_length=1)


# What the operations do


def pay_order(order_id: int, *, caller: Caller, key: Key) -> Reply:
    """Pay one completed order of the caller's. Opens the stores that it needs itself.

    Returns the answer that was kept under the key, or 202 where it could not be settled at once.
    Raises NotFound, Forbidden when the order is not the caller's to pay, Conflict when it is not completed,
    InsufficientTokens when it costs more than anybody can have, Replayed, StillRunning, KeyReused.
    """

    def begin(db: Connection) -> Event:
        row = visible(orders.order_for_change(db, order_id), caller)
        if caller.id != row.user_id:
            raise Forbidden("Only the order's customer pays for it.")
        return begin_payment(db, [row], caller=caller, key=key)

    first = begin_under_key(key, begin, begun=_begun)
    return run_on(SAGA, first, key, meanwhile=PayingOrder(order_id=order_id))


def pay_project(project_id: str, *, caller: Caller, key: Key) -> Reply:
    """Pay all completed, unpaid orders of a completed project of the caller's. Opens the stores that it needs itself.

    Returns and raises what `pay_order` does; Conflict while the project is not completed.
    """

    def begin(db: Connection) -> Event | None:
        rows = orders.orders_of_project_for_change(db, project_id)
        if not rows:
            return None
        caller.must_see("project", *(row.user_id for row in rows))
        if any(row.user_id != caller.id for row in rows):
            raise Forbidden("Only the project's owner pays for it.")
        progress = orders.progress_for_change(db, project_id)
        status = progress.status if progress is not None else "open"
        unpaid = [row for row in rows if row.status == "completed"]
        if status != "completed":
            raise Conflict(f"Only a completed project can be paid: this one is {status}.")
        if not unpaid:
            raise Conflict("The project's orders are being paid already.")
        if len(unpaid) > MOST_ORDERS:
            raise Conflict(
                f"The project has {len(unpaid)} unpaid orders; at most {MOST_ORDERS} are paid at once: "
                "pay some of them singly first (POST /orders/{order_id}/payment)."
            )
        return begin_payment(db, unpaid, caller=caller, key=key, project_id=project_id)

    first = begin_under_key(key, begin, begun=_begun)
    if first is None:
        raise _without_orders(project_id, caller)
    return run_on(SAGA, first, key, meanwhile=PayingProject(project_id=project_id))


def _begun(db: Connection, key: Key) -> Event | None:
    """The first event of the payment that was begun under the key and is under way."""
    row = unfinished.payment_under_key(db, key)
    return None if row is None else first_of(row, repository.orders_of_payment(db, row.id))


def _without_orders(project_id: str, caller: Caller) -> ItlcError:
    """Why a project without orders is not paid. Only MongoDB knows it, whose driver is loaded for this refusal alone.
    Raises NotFound."""
    from itlc.projects.service import own_project

    if own_project(project_id, caller).owner_id != caller.id:
        return Forbidden("Only the project's owner pays for it.")
    return Conflict("Only a completed project can be paid: this one is open, it has no orders yet.")


def begin_payment(
    db: Connection, rows: Sequence[Row[Any]], *, caller: Caller, key: Key, project_id: str | None = None
) -> Event:
    """Begin to pay these locked orders (by id); returns the event that asks for the tokens.

    Raises Conflict unless all are completed, InsufficientTokens when they cost more than a balance can hold.
    """
    rate = settings().token_rate
    status = {row.id: order_rules.after(row.status, "pay") for row in rows}
    shares = [
        Share(order_id=row.id, tokens=tokens_of(row.amount, rate), provider_user_id=row.provider_user_id)
        for row in rows
    ]
    tokens = sum(share.tokens for share in shares)
    if tokens > MAX_TOKENS:
        raise InsufficientTokens(f"This costs {tokens} tokens, more than a balance can hold.")
    payment_id = uuid.uuid4()
    for row in rows:
        orders.change_order(db, row.id, status=status[row.id])
    _refresh(db, rows)
    repository.add_payment(
        db,
        [share.model_dump() for share in shares],
        id=payment_id,
        project_id=project_id,
        customer_id=caller.id,
        tokens=tokens,
        rate=rate,
        status="paying",
        **key_columns(key),
    )
    return _first(Collect(payment_id=payment_id, customer_id=caller.id, orders=tuple(shares)))


# The steps


def collect(db: Connection, event: Event) -> Sequence[Event]:
    """In the ledger: the customer's tokens go into escrow, one for each order; or the payment is declined.

    Raises Poison for a customer who never was.
    """
    asked = said(Collect, event)
    incoming: dict[int, int] = {}
    for share in asked.orders:
        incoming[share.provider_user_id] = incoming.get(share.provider_user_id, 0) + share.tokens
    holders = repository.holders_for_change(db, {asked.customer_id, *incoming})
    if asked.customer_id not in holders:
        raise Poison(f"there is no user {asked.customer_id}")
    balance = int(holders[asked.customer_id].tokens)
    payer = account_of(asked.customer_id)
    moves = [
        Move(
            f"payment:{asked.payment_id}:order:{share.order_id}:in",
            "payment",
            payer,
            escrow_of(asked.payment_id, share.order_id),
            share.tokens,
            order_id=share.order_id,
            on_behalf_of=share.provider_user_id,
        )
        for share in asked.orders
        if share.tokens
    ]
    on_the_way = repository.on_the_way_to(db, incoming)
    reason = why_not(holders, incoming, on_the_way=on_the_way, payer_id=asked.customer_id)
    if reason is not None and not ledger.already_made(db, *moves):
        return [then(event, "declined", Declined(payment_id=asked.payment_id, reason=reason, balance=balance))]
    for row in ledger.transfer(db, *moves):
        balance = row.debit_balance
    return [then(event, "collected", Collected(**asked.model_dump(), balance=balance))]


def pivot(db: Connection, event: Event) -> Sequence[Event]:
    """In the orders: they are paid, if the payment still stands; else what is in escrow goes back.

    The answer is kept under the key, each provider's user is told, their tokens are on the way.
    """
    told = said(Collected, event)
    covered = list(_shares(repository.orders_of_payment(db, told.payment_id)))
    if covered and covered != _by_id(told.orders):
        raise Poison(f"payment {told.payment_id} is of other orders or tokens")
    rows = orders.orders_for_change(db, [share.order_id for share in told.orders])
    payment = repository.payment_for_change(db, told.payment_id)
    if payment is not None and payment.status == "settled":
        return []
    if payment is None or payment.status != "paying" or any(row.status != "paying" for row in rows):
        return _overtaken(db, event, told, payment, rows)
    for row, share in zip(rows, _by_id(told.orders), strict=True):
        _pay(db, row, share, payment)
    _refresh(db, rows)
    repository.end_payment(db, payment.id, "settled", told.balance)
    keep_answer(db, payment, created(_settled(payment, told)))
    return [then(event, "release", _release(told, user_id), part=_part_of(user_id)) for user_id in _paid_by(told)]


def undo(db: Connection, event: Event) -> Sequence[Event]:
    """In the orders: the payment was declined; they are completed again, and the refusal is kept under the key."""
    told = said(Declined, event)
    covered = repository.orders_of_payment(db, told.payment_id)
    rows = orders.orders_for_change(db, [share.order_id for share in covered])
    payment = repository.payment_for_change(db, told.payment_id)
    if payment is None:
        raise Poison(f"there is no payment {told.payment_id}")
    if payment.status == "paying":
        _decline(db, payment, rows, refused_payment(told.reason, payment.tokens, told.balance))
    return []


def release(db: Connection, event: Event) -> Sequence[Event]:
    """In the ledger: what is in escrow for one provider's user goes to them; to the house, where they were erased.

    Raises Poison when it is not in escrow, BalanceFull while they have no room for it (then it is tried again).
    """
    told = said(Release, event)
    _empty_escrows(db, told.payment_id, told.orders, told.provider_user_id, "release")
    return []


def give_back(db: Connection, event: Event) -> Sequence[Event]:
    """In the ledger: what is in escrow goes back to the customer; to the house, where they were erased.

    Raises Poison when it is not in escrow, BalanceFull while they have no room for it (then it is tried again).
    """
    told = said(GiveBack, event)
    _empty_escrows(db, told.payment_id, told.orders, told.customer_id, "back")
    return []


def _empty_escrows(db: Connection, payment_id: uuid.UUID, shares: Iterable[Share], user_id: int, way: str) -> None:
    holders = repository.holders_for_change(db, [user_id])
    if user_id not in holders:
        raise Poison(f"there is no user {user_id}")
    gone = holders[user_id].erased_at is not None
    moves = [
        Move(
            f"payment:{payment_id}:order:{share.order_id}:{way}",
            "forfeit" if gone else "payment",
            escrow_of(payment_id, share.order_id),
            FORFEIT if gone else account_of(user_id),
            share.tokens,
            order_id=share.order_id,
        )
        for share in shares
        if share.tokens
    ]
    try:
        ledger.transfer(db, *moves)
    except EscrowNotHeld as error:
        raise Poison(error.detail) from error


# The events again, from the rows: the same as the first time


def first_of(payment: Row[Any], covered: Sequence[Row[Any]]) -> Event:
    """The event that began a payment, which covers these orders."""
    return _first(Collect(payment_id=payment.id, customer_id=payment.customer_id, orders=_shares(covered)))


def release_of(payment: Row[Any], covered: Sequence[Row[Any]], provider_user_id: int) -> Event:
    """The event that gives one provider's user what is in escrow for them. The payment is settled."""
    told = _told(payment, covered)
    collected = then(first_of(payment, covered), "collected", told)
    return then(collected, "release", _release(told, provider_user_id), part=_part_of(provider_user_id))


def give_back_of(payment: Row[Any], covered: Sequence[Row[Any]]) -> Event:
    """The event that gives the customer back what is in escrow. The payment was declined once it had been collected."""
    told = _told(payment, covered)
    return then(then(first_of(payment, covered), "collected", told), "give_back", _give_back(told))


def _collect_again(db: Connection, event: Event) -> Event:
    return first_of(*_that_is(db, said(Collect, event).payment_id, "paying", "settled", "declined"))


def _release_again(db: Connection, event: Event) -> Event:
    asked = said(Release, event)
    payment, covered = _that_is(db, asked.payment_id, "settled")
    if not any(share.provider_user_id == asked.provider_user_id and share.tokens for share in covered):
        raise Poison(f"payment {payment.id} has nothing for user {asked.provider_user_id}")
    return release_of(payment, covered, asked.provider_user_id)


def _give_back_again(db: Connection, event: Event) -> Event:
    return give_back_of(*_that_is(db, said(GiveBack, event).payment_id, "declined"))


def _that_is(db: Connection, payment_id: uuid.UUID, *statuses: str) -> tuple[Row[Any], Sequence[Row[Any]]]:
    """A payment, with the orders that it covers. Raises Poison where there is none, or one of another status."""
    payment = unfinished.payment(db, payment_id)
    if payment is None:
        raise Poison(f"there is no payment {payment_id}")
    if payment.status not in statuses:
        raise Poison(f"payment {payment_id} is {payment.status}, not {' or '.join(statuses)}")
    return payment, repository.orders_of_payment(db, payment_id)


def _told(payment: Row[Any], covered: Sequence[Row[Any]]) -> Collected:
    return Collected(
        payment_id=payment.id,
        customer_id=payment.customer_id,
        orders=_shares(covered),
        balance=payment.balance or 0,
    )


def _shares(covered: Sequence[Row[Any]]) -> tuple[Share, ...]:
    return tuple(Share.model_validate(row, from_attributes=True) for row in covered)


def _paid_by(told: Collected) -> list[int]:
    """The users who get tokens."""
    return sorted({share.provider_user_id for share in told.orders if share.tokens})


def _part_of(provider_user_id: int) -> str:
    return f":{provider_user_id}"


def _parts(event: Event) -> list[str]:
    """What follows from the pivot: one release for each of those who are paid, or one `give_back`."""
    return [*WHOLE, *map(_part_of, _paid_by(said(Collected, event)))]


SAGA = Saga(
    CONSUMER,
    {
        "collect": Step(postgres.users, collect, Cause(postgres.orders, Collect, _collect_again)),
        "collected": Step(postgres.orders, pivot, sent_by(postgres.users, Collected), parts=_parts),
        "declined": Step(postgres.orders, undo, sent_by(postgres.users, Declined)),
        "release": Step(postgres.users, release, Cause(postgres.orders, Release, _release_again), owed=True),
        "give_back": Step(postgres.users, give_back, Cause(postgres.orders, GiveBack, _give_back_again), owed=True),
    },
)


def _pay(db: Connection, row: Row[Any], share: Share, payment: Row[Any]) -> None:
    after = {"status": order_rules.after(row.status, "settle"), "tokens_charged": share.tokens}
    orders.change_order(db, row.id, **after, paid_at=func.clock_timestamp())
    message = f"Order {row.id} was paid: {share.tokens} tokens."
    outbox.emit(db, notice(f"order:{row.id}", message, users=[share.provider_user_id]))
    before = {"status": row.status}
    audit.record(db, payment.customer_id, payment.key_operation, f"order:{row.id}", before=before, after=after)


def _overtaken(
    db: Connection, event: Event, told: Collected, payment: Row[Any] | None, rows: Sequence[Row[Any]]
) -> Sequence[Event]:
    if payment is not None and payment.status == "paying":
        _decline(db, payment, rows, refused_payment("overtaken", payment.tokens, None))
    if not any(share.tokens for share in told.orders):
        return []
    return [then(event, "give_back", _give_back(told))]


def _decline(db: Connection, payment: Row[Any], rows: Sequence[Row[Any]], refusal: ItlcError) -> None:
    for row in rows:
        if row.status == "paying":
            orders.change_order(db, row.id, status=order_rules.after(row.status, "decline"))
    _refresh(db, rows)
    repository.end_payment(db, payment.id, "declined")
    keep_answer(db, payment, problem(refusal, payment.request_id or str(payment.id)))


def _refresh(db: Connection, rows: Iterable[Row[Any]]) -> None:
    for project_id in sorted({row.project_id for row in rows if row.project_id is not None}):
        refresh_progress(db, project_id)


def _settled(payment: Row[Any], told: Collected) -> View:
    if payment.project_id is None:
        (share,) = told.orders
        return PaidOrder(order_id=share.order_id, tokens_charged=share.tokens, balance=told.balance)
    charged = [ChargedOrder(order_id=share.order_id, tokens_charged=share.tokens) for share in told.orders]
    return PaidProject(
        project_id=payment.project_id, orders=charged, tokens_charged=payment.tokens, balance=told.balance
    )


def _release(told: Collected, user_id: int) -> Release:
    theirs = tuple(share for share in told.orders if share.provider_user_id == user_id and share.tokens)
    return Release(payment_id=told.payment_id, provider_user_id=user_id, orders=theirs)


def _give_back(told: Collected) -> GiveBack:
    shares = tuple(share for share in told.orders if share.tokens)
    return GiveBack(payment_id=told.payment_id, customer_id=told.customer_id, orders=shares)


def _first(asked: Collect) -> Event:
    id = cause_id(f"payment:{asked.payment_id}:collect")
    return first_event(QUEUE, "collect", _about(asked.payment_id), asked, id=id)


def _by_id(shares: Iterable[Share]) -> list[Share]:
    return sorted(shares, key=lambda share: share.order_id)


def _about(payment_id: uuid.UUID) -> str:
    return f"payment:{payment_id}"
