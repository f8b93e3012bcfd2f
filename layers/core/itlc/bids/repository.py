"""The bids' queries. A bid is locked before the order that it becomes, bids among each other in the order of their
ids."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, cast, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB

from itlc.bids.schemas import MyBidQuery
from itlc.bids.tables import bidding
from itlc.paging import Found, PageQuery, cut
from itlc.stores.keyset import keyset

NEWEST = (bidding.c.created_at, bidding.c.id)


def add_bid(db: Connection, **fields: Any) -> Row[Any]:
    """The new bid, `open`."""
    return db.execute(insert(bidding).values(**fields).returning(bidding)).one()


def bid(db: Connection, bid_id: int) -> Row[Any] | None:
    """One bid, or None."""
    return db.execute(select(bidding).where(bidding.c.id == bid_id)).one_or_none()


def bid_for_change(db: Connection, bid_id: int) -> Row[Any] | None:
    """One bid, locked until the transaction ends, or None."""
    return db.execute(select(bidding).where(bidding.c.id == bid_id).with_for_update(key_share=True)).one_or_none()


def bid_of_order(db: Connection, order_id: int) -> Row[Any] | None:
    """The bid that became this order, or None."""
    return db.execute(select(bidding).where(bidding.c.order_id == order_id)).one_or_none()


def change_bid(db: Connection, bid_id: int, **changes: Any) -> Row[Any]:
    """The bid as it is after the change."""
    change = update(bidding).where(bidding.c.id == bid_id).values(**changes, updated_at=func.clock_timestamp())
    return db.execute(change.returning(bidding)).one()


def bids_of_service(db: Connection, service_id: int, query: PageQuery) -> Found[Row[Any]]:
    """A page of a service's bids, newest first."""
    rows = db.execute(keyset(select(bidding).where(bidding.c.service_id == service_id), NEWEST, query)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))


def bids_of_bidder(db: Connection, bidder_id: int, query: MyBidQuery) -> Found[Row[Any]]:
    """A page of a user's bids, newest first."""
    statement = select(bidding).where(bidding.c.bidder_id == bidder_id)
    if query.status is not None:
        statement = statement.where(bidding.c.status == query.status)
    rows = db.execute(keyset(statement, NEWEST, query)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))


def expire(db: Connection, older_than: timedelta, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` open bids older than that, now `expired`; those that somebody is just changing are passed over."""
    old = (
        select(bidding.c.id)
        .where(bidding.c.status == "open", bidding.c.created_at < func.now() - older_than)
        .order_by(bidding.c.id)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )
    change = update(bidding).where(bidding.c.id.in_(old)).values(status="expired", updated_at=func.clock_timestamp())
    return db.execute(change.returning(bidding)).all()


# A person's data


def bids_of_party(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All bids that the user made, and all on services of theirs, by id."""
    theirs = or_(bidding.c.bidder_id == user_id, bidding.c.provider_user_id == user_id)
    return db.execute(select(bidding).where(theirs).order_by(bidding.c.id)).all()


def open_bids_for_change(db: Connection, user_id: int, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` open bids that the user made or that are on services of theirs, locked until the transaction
    ends, by id."""
    theirs = or_(bidding.c.bidder_id == user_id, bidding.c.provider_user_id == user_id)
    chosen = select(bidding).where(theirs, bidding.c.status == "open").order_by(bidding.c.id).limit(limit)
    return db.execute(chosen.with_for_update(key_share=True)).all()


def set_message(db: Connection, bid_id: int, message: str | None) -> None:
    """Put another message, or none, on a bid. It does not count as a change of the bid."""
    db.execute(update(bidding).where(bidding.c.id == bid_id).values(message=message))


def leave_projects(db: Connection, user_id: int) -> None:
    """Take a bidder's bids out of their projects."""
    theirs = (bidding.c.bidder_id == user_id, bidding.c.project_id.is_not(None))
    db.execute(update(bidding).where(*theirs).values(project_id=None))


def forget_answers_about(db: Connection, bidder_id: int) -> None:
    """Remove the answers that providers got to the rejection of this user's bids, for they quote the bids."""
    keys = db.info["database"].idempotency_keys
    bid = case((and_(keys.c.operation == "reject_bid", keys.c.status == 200), cast(keys.c.body, JSONB)))
    db.execute(delete(keys).where(keys.c.operation == "reject_bid", bid["bidder_id"].as_integer() == bidder_id))
