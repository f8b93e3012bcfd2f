"""Counts of requests in a PostgreSQL database: one row for each subject and window of time (see `itlc.limits`)."""

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from itlc.limits import CLOCKS_APART, Window


def count(handle: Connection, subject: str, window: Window) -> int:
    """Count one more request in a PostgreSQL database; returns how many the subject has made in the window."""
    table = handle.info["database"].request_counts
    row = insert(table).values(subject=subject, window_end=window.ends_at, count=1)
    counted = row.on_conflict_do_update(constraint=table.primary_key, set_={"count": table.c.count + 1})
    return int(handle.execute(counted.returning(table.c.count)).scalar_one())


def purge(handle: Connection, limit: int) -> int:
    """Remove up to `limit` counts of windows that are over; returns how many."""
    table = handle.info["database"].request_counts
    old = (
        select(table.c.subject, table.c.window_end)
        .where(table.c.window_end < func.now() - CLOCKS_APART)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()
    )
    gone = delete(table).where(table.c.subject == old.c.subject, table.c.window_end == old.c.window_end)
    return handle.execute(gone).rowcount
