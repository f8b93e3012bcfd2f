"""Payments and refunds that were left under way: found by what the databases say, and set going again.

A message that failed too often while a store was away is a dead letter, and nobody would go on with what it was about.
So the job `resume_payments` looks for what has been under way for over two minutes, derives from the rows the event at
which it stands, and has just that one sent again: the same event, by its id, as the first time. So it does no harm
should the first one still be on its way, or be redriven later: the inbox takes one of them. Both databases are
asked before, so nothing is sent while one is away.

    inbox of the ledger has no `collect`/`refund`  → that one again
    the ledger emitted what followed from it       → that one again
    the ledger did it, what followed was purged    → the step once more, which finds the transfers that it made
    an escrow is full, its payment has ended       → `release` or `give_back` again
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from itlc import telemetry
from itlc.errors import Poison
from itlc.events import Event
from itlc.operation import Deadline
from itlc.paging import Position
from itlc.stores import outbox, postgres
from itlc.wallet import payments, refunds, repository, unfinished
from itlc.wallet.model import MAX_TOKENS
from itlc.wallet.settling import SAGA

LEFT_AFTER = timedelta(minutes=2)
BATCH = 100

Batch = tuple[int, int, Position | None]
"""How many were set going again, how many could not be, and the position of the last one where there may be more."""


def resume(deadline: Deadline) -> dict[str, int]:
    """Set going again what was left, in batches, until the time is up.

    Returns how many payments, refunds and escrows were `resumed`, and how many could not be (`left`): the tokens' owner
    has no room for them, their payment is not known, or what is noted of them cannot be read. Those are in the log.
    Raises StoreAway while a database is away.
    """
    resumed = left = 0
    for batch_of in (_payments, _refunds, _escrows):
        after: Position | None = None
        while not deadline.passed:
            again, stuck, after = batch_of(after)
            resumed, left = resumed + again, left + stuck
            if after is None:
                break
    return {"resumed": resumed, "left": left}


def _payments(after: Position | None) -> Batch:
    with postgres.orders.read() as db:
        rows = unfinished.payments_under_way(db, LEFT_AFTER, after, BATCH)
        begun = _read(rows, lambda row: payments.first_of(row, repository.orders_of_payment(db, row.id)))
    return *_send_where_it_stands(begun, len(rows)), _last(rows)


def _refunds(after: Position | None) -> Batch:
    with postgres.orders.read() as db:
        rows = unfinished.refunds_under_way(db, LEFT_AFTER, after, BATCH)
        begun = _read(rows, lambda row: refunds.first_of(db, row))
    return *_send_where_it_stands(begun, len(rows)), _last(rows)


def _read(rows: Sequence[Row[Any]], event_of: Callable[[Row[Any]], Event]) -> list[Event]:
    """The events of these rows. What cannot be read of one keeps no other from being resumed."""
    read = []
    for row in rows:
        with _alone(row.id):
            read.append(event_of(row))
    return read


@contextmanager
def _alone(about: object) -> Iterator[None]:
    """Log what is wrong with one of many, and go on. A store that is away ends all."""
    try:
        yield
    except (ValueError, Poison):  # of the former kind is what pydantic raises
        telemetry.logger("resume_payments").exception("not resumed", extra={"about": str(about)})


def _last(rows: Sequence[Row[Any]]) -> Position | None:
    return (rows[-1].created_at, rows[-1].id) if len(rows) == BATCH else None


def _send_where_it_stands(begun: Sequence[Event], of: int) -> tuple[int, int]:
    """Of each saga, which began with one of these events, send the event at which it stands; returns how many, and how
    many of that number are left."""
    first: list[Event] = []
    followed: list[Event] = []
    forgotten: list[Event] = []
    with postgres.users.read() as db:
        for event in begun:
            following = SAGA.followed(db, event)
            if following is None:
                first.append(event)
            elif following:
                followed += following
            else:
                forgotten.append(event)
    done = len(begun) - len(forgotten)
    _emit_again(postgres.orders, first)
    _emit_again(postgres.users, followed)
    for event in forgotten:
        with _alone(event.id):
            SAGA.apply_again(event)
            done += 1
    return done, of - done


def _escrows(after: Position | None) -> Batch:
    with postgres.users.read() as db:
        full = unfinished.full_escrows(db, LEFT_AFTER, after, BATCH)
    with postgres.orders.read() as db:
        emptied = []
        for escrow in full:
            with _alone(escrow.account):
                emptied.append((escrow, _emptied_by(db, escrow.account)))
    again: dict[str, Event] = {}  # by id, for one event empties the escrows of all of a provider's orders
    left = len(full) - len(emptied)
    with postgres.users.read() as db:
        for escrow, found in emptied:
            if found is None:
                continue  # its payment is under way, and resumed as such
            event, user_id = found
            if event is None or not _has_room(db, user_id, event):
                left += 1
                account = {"account": escrow.account}
                telemetry.logger("resume_payments").warning("tokens stay in escrow", extra=account)
            else:
                again[event.id] = event
    _emit_again(postgres.orders, again.values())
    return len(again), left, ((full[-1].created_at, full[-1].account) if len(full) == BATCH else None)


def _emptied_by(db: Connection, account: str) -> tuple[Event | None, int] | None:
    """The event that empties an escrow, with the user who gets the tokens; no event where no payment is known. None
    while the payment is under way."""
    _, payment_id, order_id = account.split(":")
    payment = unfinished.payment(db, uuid.UUID(payment_id))
    if payment is None:
        return None, 0
    if payment.status == "paying":
        return None
    covered = repository.orders_of_payment(db, payment.id)
    if payment.status == "declined":
        return payments.give_back_of(payment, covered), payment.customer_id
    provider_user_id = {share.order_id: share.provider_user_id for share in covered}.get(int(order_id))
    if provider_user_id is None:
        return None, 0
    return payments.release_of(payment, covered, provider_user_id), provider_user_id


def _has_room(db: Connection, user_id: int, event: Event) -> bool:
    """Whether a user can be given the tokens of a `release` or a `give_back`; those of who was erased go to the house,
    which always has room."""
    balance = repository.balance(db, user_id)
    return balance is None or balance + sum(share["tokens"] for share in event.payload["orders"]) <= MAX_TOKENS


def _emit_again(database: postgres.Database, events: Iterable[Event]) -> None:
    """Have these events wait in the database's outbox again, and be sent after the commit."""
    waiting = list(events)

    def transaction(db: Connection) -> None:
        for event in waiting:
            outbox.emit_again(db, event)

    if waiting:
        database.write(transaction)
