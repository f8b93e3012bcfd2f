"""The inbox of a PostgreSQL database: which messages were applied here, noted in the transaction of their effect."""

import uuid
from datetime import timedelta

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from itlc.events import Event


def first_time(handle: Connection, consumer: str, event: Event) -> bool:
    """Note in the inbox that `consumer` applies `event` in this transaction; False when it already did."""
    table = handle.info["database"].inbox
    row = insert(table).values(consumer=consumer, message_id=uuid.UUID(event.id)).on_conflict_do_nothing()
    return handle.execute(row).rowcount == 1


def applied(handle: Connection, consumer: str, event: Event) -> bool:
    """Whether `consumer` applied `event` before: for an effect outside of every store, such as a mail, which is noted
    in the inbox (`first_time`) once it has succeeded."""
    table = handle.info["database"].inbox
    found = select(table.c.message_id).where(table.c.consumer == consumer, table.c.message_id == uuid.UUID(event.id))
    return handle.execute(found).one_or_none() is not None


def purge(handle: Connection, older_than: timedelta, limit: int) -> int:
    """Remove up to `limit` inbox rows older than that (longer than any queue keeps a message); returns how many."""
    table = handle.info["database"].inbox
    old = (
        select(table.c.consumer, table.c.message_id)
        .where(table.c.received_at < func.now() - older_than)
        .limit(limit)
        .cte()
    )
    gone = delete(table).where(table.c.consumer == old.c.consumer, table.c.message_id == old.c.message_id)
    return handle.execute(gone).rowcount
