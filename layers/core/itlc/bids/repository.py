"""The bids' queries. A bid is locked before the order that it becomes, bids among each other in the order of their
ids."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Row,
    and_,
    any_,
    case,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from itlc.bids.schemas import MyBidQuery
from itlc.bids.tables import bidding
from itlc.paging import Found, PageQuery, cut
from itlc.stores.keyset import keyset

NEWEST = (bidding.c.created_at, bidding.c.id)
Place = tuple[datetime, int]
"""Where a bid stands among the others: when it was made, and its id."""


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
        .cte()
    )
    change = update(bidding).where(bidding.c.id == old.c.id).values(status="expired", updated_at=func.clock_timestamp())
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


def some_of_party(
    db: Connection, user_id: int, *, as_provider: bool, after: Place | None, limit: int
) -> Sequence[Row[Any]]:
    """Where the next `limit` of the bids that the user made, or got `as_provider`, stand after that place
    (`created_at`, `id`): a walk along one index."""
    theirs = bidding.c.provider_user_id if as_provider else bidding.c.bidder_id
    places = select(*NEWEST).where(theirs == user_id)
    if after is not None:
        places = places.where(tuple_(*NEWEST) > tuple_(*after))
    rows: Sequence[Any] = db.execute(places.order_by(*NEWEST).limit(limit)).all()
    return rows


def bids_for_change(db: Connection, bid_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """These bids, locked until the transaction ends, by id."""
    chosen = select(bidding).where(bidding.c.id == _any(bid_ids)).order_by(bidding.c.id)
    return db.execute(chosen.with_for_update(key_share=True)).all()


def set_messages(db: Connection, messages: Mapping[int, str | None]) -> None:
    """Put other messages, or none, on bids, by their ids. It does not count as a change of the bids."""
    if not messages:
        return
    by_id = {str(id): message for id, message in messages.items()}
    new = func.jsonb_each_text(cast(by_id, JSONB)).table_valued("key", "value", name="new").render_derived()
    db.execute(update(bidding).where(bidding.c.id == cast(new.c.key, Integer)).values(message=new.c.value))


def leave_projects(db: Connection, bid_ids: Sequence[int]) -> None:
    """Take these bids out of their projects."""
    inside = (bidding.c.id == _any(bid_ids), bidding.c.project_id.is_not(None))
    db.execute(update(bidding).where(*inside).values(project_id=None))


def _any(bid_ids: Sequence[int]) -> Any:
    """One of these, as one parameter, however many they are."""
    return any_(cast(list(bid_ids), ARRAY(Integer)))


def forget_answers_about(db: Connection, bidder_id: int) -> None:
    """Remove the answers that providers got to the rejection of this user's bids, for they quote the bids."""
    keys = db.info["database"].idempotency_keys
    bid = case((and_(keys.c.operation == "reject_bid", keys.c.status == 200), cast(keys.c.body, JSONB)))
    db.execute(delete(keys).where(keys.c.operation == "reject_bid", bid["bidder_id"].as_integer() == bidder_id))
