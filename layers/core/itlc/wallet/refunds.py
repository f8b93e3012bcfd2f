"""Refunds: the order's provider gives the customer back a part of what was paid, or all.

    begin ──refund──▶ ledger: provider → customer ──refunded─────────▶ settle
                                     └────────────refund_declined────▶ decline

`begin`, `settle` and `decline` commit in `itlc_orders`; an order has one refund under way at most.
"""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row

from itlc import audit
from itlc.access import Caller
from itlc.answers import Reply, problem
from itlc.errors import Conflict, Forbidden, Passing, Poison, invalid
from itlc.events import Event
from itlc.fields import Id
from itlc.idempotency import Key
from itlc.notices import notice
from itlc.orders import model as order_rules
from itlc.orders import repository as orders
from itlc.orders.service import refresh_progress, visible
from itlc.stores import outbox, postgres
from itlc.wallet import ledger, repository, unfinished
from itlc.wallet.model import (
    MAX_TOKENS,
    Move,
    Reason,
    account_of,
    cause_id,
    refused_refund,
    tokens_to_give_back,
    why_not,
)
from itlc.wallet.saga import Cause, Payload, Saga, Step, first_event, said, sent_by, then
from itlc.wallet.schemas import Refunded, Refunding, RefundOrder
from itlc.wallet.under_key import begin_under_key, created, keep_answer, key_columns, run_on

CONSUMER = "settle_payments"
QUEUE = "payments"


class Refund(Payload):
    """The provider's user is to give the customer tokens back."""

    refund_id: uuid.UUID
    order_id: Id
    payer_id: Id
    payee_id: Id
    tokens: int = Field(ge=1, le=MAX_TOKENS)


class RefundMade(Payload):
    """They did. `balance` is what the provider's user has left."""

    refund_id: uuid.UUID
    balance: int


class RefundDeclined(Payload):
    """They did not."""

    refund_id: uuid.UUID
    reason: Reason
    balance: int | None


def refund_order(order_id: int, request: RefundOrder, *, caller: Caller, key: Key) -> Reply:
    """Give back a part of an order's price, or all that is left. Opens the stores that it needs itself.

    Returns the answer that was kept under the key, or 202 where it could not be settled at once.
    Raises NotFound, Forbidden when the caller is not the order's provider, Conflict when the order is not paid, another
    refund is under way, or less is left; Invalid when it is worth no whole token; Replayed, StillRunning, KeyReused.
    """

    def begin(db: Connection) -> Event:
        row = visible(orders.order_for_change(db, order_id), caller)
        if caller.id != row.provider_user_id:
            raise Forbidden("Only the order's provider gives a refund.")
        return _begin(db, row, request.amount, key)

    first = begin_under_key(key, begin, begun=_begun)
    return run_on(SAGA, first, key, meanwhile=Refunding(order_id=order_id))


def _begun(db: Connection, key: Key) -> Event | None:
    """The first event of the refund that was begun under the key and is under way."""
    row = unfinished.refund_under_key(db, key)
    return None if row is None else first_of(db, row)


def _begin(db: Connection, row: Row[Any], amount: Decimal | None, key: Key) -> Event:
    order_rules.after(row.status, "refund")
    if repository.refund_under_way(db, row.id):
        raise Passing("Another refund of this order is under way. Try again when it has ended.")
    left = row.amount - row.refunded_amount
    asked = left if amount is None else amount
    if asked > left:
        raise Conflict(f"Of this order {left:.2f} is left to give back, not {asked:.2f}.")
    tokens = tokens_to_give_back(
        asked,
        refunded_amount=row.refunded_amount,
        refunded_tokens=row.refunded_tokens,
        charged=row.tokens_charged or 0,
        rate=repository.rate_paid(db, row.id),
    )
    if tokens == 0:
        raise invalid("amount", f"{asked:.2f} is worth no whole token, after what was given back before")
    refund_id = uuid.uuid4()
    repository.add_refund(
        db, id=refund_id, order_id=row.id, amount=asked, tokens=tokens, status="refunding", **key_columns(key)
    )
    return _first(refund_id, row, tokens)


# The steps


def move(db: Connection, event: Event) -> Sequence[Event]:
    """In the ledger: the tokens go from the provider's user to the customer, or the refund is declined.

    Raises Poison for a provider's user who never was.
    """
    asked = said(Refund, event)
    holders = repository.holders_for_change(db, {asked.payer_id, asked.payee_id})
    if asked.payer_id not in holders:
        raise Poison(f"there is no user {asked.payer_id}")
    moved = Move(
        f"refund:{asked.refund_id}",
        "refund",
        account_of(asked.payer_id),
        account_of(asked.payee_id),
        asked.tokens,
        order_id=asked.order_id,
    )
    on_the_way = repository.on_the_way_to(db, [asked.payee_id])
    reason = why_not(holders, {asked.payee_id: asked.tokens}, on_the_way=on_the_way, payer_id=asked.payer_id)
    if reason is not None and not ledger.already_made(db, moved):
        balance = int(holders[asked.payer_id].tokens)
        return [
            then(event, "refund_declined", RefundDeclined(refund_id=asked.refund_id, reason=reason, balance=balance))
        ]
    (row,) = ledger.transfer(db, moved)
    return [then(event, "refunded", RefundMade(refund_id=asked.refund_id, balance=row.debit_balance))]


def settle(db: Connection, event: Event) -> Sequence[Event]:
    """In the orders: the order shows what was given back, and is `refunded` once that is all; the customer is told,
    the answer is kept under the key."""
    told = said(RefundMade, event)
    order, ended = _end(db, told.refund_id, "settled")
    if ended is None:
        return []
    after = {
        "refunded_amount": order.refunded_amount + ended.amount,
        "refunded_tokens": order.refunded_tokens + ended.tokens,
        "status": order.status,
    }
    if after["refunded_amount"] == order.amount:
        after["status"] = order_rules.after(order.status, "refund")
    orders.change_order(db, order.id, **after)
    refresh_progress(db, order.project_id)
    message = f"Order {order.id}: {ended.amount:.2f} was refunded, {ended.tokens} tokens."
    outbox.emit(db, notice(f"order:{order.id}", message, users=[order.user_id]))
    audit.record(
        db,
        order.provider_user_id,
        ended.key_operation,
        f"order:{order.id}",
        before={"status": order.status, "refunded_tokens": order.refunded_tokens},
        after={"status": after["status"], "refunded_tokens": after["refunded_tokens"]},
    )
    view = Refunded(
        id=ended.id,
        order_id=order.id,
        amount=ended.amount,
        tokens=ended.tokens,
        order_status=after["status"],
        refunded_amount=after["refunded_amount"],
        refunded_tokens=after["refunded_tokens"],
        balance=told.balance,
        created_at=ended.created_at,
    )
    keep_answer(db, ended, created(view))
    return []


def decline(db: Connection, event: Event) -> Sequence[Event]:
    """In the orders: nothing was given back; the refusal is kept under the key."""
    told = said(RefundDeclined, event)
    _, ended = _end(db, told.refund_id, "declined")
    if ended is not None:
        refusal = refused_refund(told.reason, ended.tokens, told.balance)
        keep_answer(db, ended, problem(refusal, ended.request_id or str(ended.id)))
    return []


def first_of(db: Connection, refund: Row[Any]) -> Event:
    """The event that began a refund, again, from the rows: the same as the first time."""
    order = orders.order(db, refund.order_id)
    assert order is not None, "a foreign key sees to it"  # noqa: S101
    return _first(refund.id, order, refund.tokens)


def _asked_for(db: Connection, event: Event) -> Event:
    refund_id = said(Refund, event).refund_id
    row = repository.refund(db, refund_id)
    if row is None:
        raise Poison(f"there is no refund {refund_id}")
    return first_of(db, row)


SAGA = Saga(
    CONSUMER,
    {
        "refund": Step(postgres.users, move, Cause(postgres.orders, Refund, _asked_for)),
        "refunded": Step(postgres.orders, settle, sent_by(postgres.users, RefundMade)),
        "refund_declined": Step(postgres.orders, decline, sent_by(postgres.users, RefundDeclined)),
    },
)


def _first(refund_id: uuid.UUID, order: Row[Any], tokens: int) -> Event:
    payload = Refund(
        refund_id=refund_id,
        order_id=order.id,
        payer_id=order.provider_user_id,
        payee_id=order.user_id,
        tokens=tokens,
    )
    return first_event(QUEUE, "refund", f"order:{order.id}", payload, id=cause_id(f"refund:{refund_id}:begin"))


def _end(db: Connection, refund_id: uuid.UUID, status: str) -> tuple[Row[Any], Row[Any] | None]:
    """The order, locked, and the refund, ended (None when it had ended before)."""
    found = repository.refund(db, refund_id)
    order = orders.order_for_change(db, found.order_id) if found is not None else None
    if order is None:
        raise Poison(f"there is no refund {refund_id}")
    return order, repository.end_refund(db, refund_id, status)
