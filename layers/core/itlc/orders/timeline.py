"""All that happened to an order, in one list: its bid, itself, its check-ins, its steps, its money.

A module of its own, for the steps are in Neo4j, which the other operations on orders do without.
"""

from collections.abc import Iterable
from typing import get_args

from sqlalchemy import Connection

from itlc.access import Caller
from itlc.bids.service import bid_of_order
from itlc.orders import repository
from itlc.orders.schemas import Happening, TimelineEntry
from itlc.orders.service import visible
from itlc.paging import Found, PageQuery, Position, cut
from itlc.plans.service import step_events
from itlc.wallet.history import payments_of_order, refunds_of_order

KINDS: tuple[Happening, ...] = get_args(Happening)


def of_order(db: Connection, order_id: int, query: PageQuery, *, caller: Caller) -> list[TimelineEntry]:
    """What `itlc_orders` knows to have happened; of the check-ins, which may be many, those that this page can hold.

    Raises NotFound when the order is not the caller's.
    """
    order = visible(repository.order(db, order_id), caller)
    entries = [TimelineEntry(kind="order", at=order.created_at, id=order_id, amount=order.amount)]
    if order.cancelled_at is not None:
        entries.append(TimelineEntry(kind="cancellation", at=order.cancelled_at, id=order_id, text=order.cancel_reason))
    if (bid := bid_of_order(db, order_id)) is not None:
        entries.append(TimelineEntry(kind="bid", at=bid.created_at, id=bid.id, amount=bid.amount, text=bid.message))
    since = None if query.after is None else query.after[0]
    for row in repository.checkins_since(db, order_id, since, limit=query.limit + 2):
        entries.append(TimelineEntry(kind="checkin", at=row.created_at, id=row.id, status=row.status, text=row.note))
    for row in payments_of_order(db, order_id):
        entries.append(
            TimelineEntry(kind="payment", at=row.created_at, id=str(row.id), status=row.status, tokens=row.tokens)
        )
    for row in refunds_of_order(db, order_id):
        entries.append(
            TimelineEntry(
                kind="refund",
                at=row.created_at,
                id=str(row.id),
                status=row.status,
                tokens=row.tokens,
                amount=row.amount,
            )
        )
    return entries


def of_steps(order_id: int) -> list[TimelineEntry]:
    """What happened to the steps of the order's plan. Opens Neo4j itself."""
    return [
        TimelineEntry(kind=event["kind"], at=event["at"], id=event["step_id"], step_number=event["step_number"])
        for event in step_events(order_id)
    ]


def page(entries: Iterable[TimelineEntry], query: PageQuery) -> Found[TimelineEntry]:
    """The page of the query, oldest first."""
    in_order = sorted(entries, key=_position)
    after = query.after
    return cut([entry for entry in in_order if after is None or _position(entry) > after], query, _position)


def _position(entry: TimelineEntry) -> Position:
    """Where an entry is: by its time, then by the order in which kinds follow each other, then by step number, for
    the steps of one plan are defined at one time."""
    return entry.at, KINDS.index(entry.kind), entry.step_number or 0, str(entry.id)
