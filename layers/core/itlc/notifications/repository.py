"""The notifications' queries."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from itlc.notifications.schemas import NotificationQuery
from itlc.notifications.tables import notifications
from itlc.paging import Found, cut
from itlc.stores.keyset import keyset


def add_notifications(db: Connection, user_ids: Iterable[int], *, event_id: str, about: str, message: str) -> int:
    """Tell each of these users, unless that event told them before; returns how many were told."""
    event = uuid.UUID(event_id)
    rows = [{"user_id": user, "event_id": event, "about": about, "message": message} for user in user_ids]
    if not rows:
        return 0
    return db.execute(insert(notifications).values(rows).on_conflict_do_nothing()).rowcount


def notifications_of_user(db: Connection, user_id: int, query: NotificationQuery) -> Found[Row[Any]]:
    """A page of what a user was told, newest first."""
    statement = select(notifications).where(notifications.c.user_id == user_id)
    if query.read_status is not None:
        statement = statement.where(notifications.c.read_status.is_(query.read_status))
    rows = db.execute(keyset(statement, (notifications.c.created_at, notifications.c.id), query)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))


def count_unread(db: Connection, user_id: int) -> int:
    """How many notifications a user has not read."""
    unread = notifications.c.user_id == user_id, notifications.c.read_status.is_(False)
    return int(db.execute(select(func.count()).select_from(notifications).where(*unread)).scalar_one())


def notification_for_change(db: Connection, notification_id: int) -> Row[Any] | None:
    """One notification, locked until the transaction ends, or None."""
    chosen = select(notifications).where(notifications.c.id == notification_id)
    return db.execute(chosen.with_for_update(key_share=True)).one_or_none()


def mark(db: Connection, notification_id: int, read_status: bool) -> Row[Any]:
    """The notification as it is after the change."""
    change = update(notifications).where(notifications.c.id == notification_id).values(read_status=read_status)
    return db.execute(change.returning(notifications)).one()


def mark_read(db: Connection, user_id: int, limit: int) -> int:
    """Mark the oldest `limit` that a user has not read; returns how many there were. They are locked by id, so two at
    once wait in line."""
    unread = notifications.c.user_id == user_id, notifications.c.read_status.is_(False)
    oldest = select(notifications.c.id).where(*unread).order_by(notifications.c.created_at, notifications.c.id)
    ids = db.scalars(oldest.limit(limit)).all()
    if ids:
        these = select(notifications.c.id).where(notifications.c.id.in_(ids)).order_by(notifications.c.id)
        locked = these.with_for_update(key_share=True).cte()
        change = update(notifications).where(notifications.c.id == locked.c.id)
        db.execute(change.values(read_status=True))
    return len(ids)


def remove(db: Connection, notification_id: int) -> None:
    """Delete a notification."""
    db.execute(delete(notifications).where(notifications.c.id == notification_id))


def purge_read(db: Connection, older_than: timedelta, limit: int) -> int:
    """Delete up to `limit` read notifications older than that; returns how many."""
    old = (
        select(notifications.c.id)
        .where(notifications.c.read_status, notifications.c.created_at < func.now() - older_than)
        .order_by(notifications.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()
    )
    return db.execute(delete(notifications).where(notifications.c.id == old.c.id)).rowcount


def all_of_user(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All that a user was told, by id."""
    return db.execute(
        select(notifications).where(notifications.c.user_id == user_id).order_by(notifications.c.id)
    ).all()


def remove_all(db: Connection, user_id: int, limit: int) -> int:
    """Delete up to `limit` of what a user was told; returns how many."""
    theirs = select(notifications.c.id).where(notifications.c.user_id == user_id).limit(limit).cte()
    return db.execute(delete(notifications).where(notifications.c.id == theirs.c.id)).rowcount
