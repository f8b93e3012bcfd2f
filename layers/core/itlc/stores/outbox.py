"""The outbox of a PostgreSQL database: events wait in the transaction of their cause until they are sent."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from itlc.events import CLAIM, Event
from itlc.stores.bookkeeping import NOTICES

ROWS = 200
"""How many events are written by one statement."""


def emit(handle: Connection, event: Event) -> None:
    """Write `event` to the outbox of the transaction at hand; it is claimed for the seam to send after the commit.

    An event whose id was written before is not written again.
    """
    table = handle.info["database"].outbox
    row = _row(event)
    handle.execute(
        insert(table).values(**row, claimed_until=func.now() + CLAIM).on_conflict_do_nothing(index_elements=["id"])
    )
    handle.info.setdefault("emitted", []).append(event)


def emit_all(handle: Connection, events: Sequence[Event]) -> None:
    """Write many events to the outbox, as `emit` does each, in few statements."""
    table = handle.info["database"].outbox
    for begin in range(0, len(events), ROWS):
        rows = [{**_row(event), "claimed_until": func.now() + CLAIM} for event in events[begin : begin + ROWS]]
        handle.execute(insert(table).values(rows).on_conflict_do_nothing(index_elements=["id"]))
    handle.info.setdefault("emitted", []).extend(events)


def emit_again(handle: Connection, event: Event) -> None:
    """Have an event wait in the outbox of the transaction at hand, as `emit` does; one that was written before waits
    again, as it was written then, and from now on."""
    table = handle.info["database"].outbox
    row = _row(event)
    waiting = {"claimed_until": func.now() + CLAIM, "published_at": None, "created_at": func.now()}
    handle.execute(insert(table).values(**row, **waiting).on_conflict_do_update(index_elements=["id"], set_=waiting))
    handle.info.setdefault("emitted", []).append(event)


def _row(event: Event) -> dict[str, Any]:
    """An event as a row of the outbox, but for its times, which are the server's."""
    return {name: value for name, value in asdict(event).items() if name != "created_at"}


def mark_published(handle: Connection, ids: set[str]) -> None:
    """Note that these events of the outbox were sent."""
    table = handle.info["database"].outbox
    handle.execute(
        update(table).where(table.c.id.in_([uuid.UUID(i) for i in ids])).values(published_at=func.clock_timestamp())
    )


def claim(handle: Connection, limit: int = 100) -> list[Event]:
    """Take up to `limit` waiting events for 30 seconds, oldest first, passing over those that another relay holds."""
    table = handle.info["database"].outbox
    waiting = (
        select(table.c.id)
        .where(table.c.published_at.is_(None), table.c.claimed_until < func.now())
        .order_by(table.c.claimed_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()  # as a plain subquery it may be run anew for each row, and takes others each time
    )
    taken = (
        update(table)
        .where(table.c.id == waiting.c.id)
        .values(claimed_until=func.now() + CLAIM, attempts=table.c.attempts + 1)
        .returning(table)
    )
    rows = sorted(handle.execute(taken), key=lambda row: row.created_at)
    return [as_event(row) for row in rows]


def find(handle: Connection, id: str) -> Event | None:
    """The event of that id in the outbox, sent or not, or None."""
    table = handle.info["database"].outbox
    row = handle.execute(select(table).where(table.c.id == uuid.UUID(id))).one_or_none()
    return None if row is None else as_event(row)


def as_event(row: Row[Any]) -> Event:
    """A row of the outbox as the event that it holds."""
    return Event(
        queue=row.queue,
        type=row.type,
        aggregate=row.aggregate,
        payload=row.payload,
        id=str(row.id),
        created_at=row.created_at.isoformat(),
        aggregate_version=row.aggregate_version,
        request_id=row.request_id,
    )


def forget_notices(handle: Connection, user_id: int, limit: int) -> int:
    """Remove up to `limit` of the sent events that told a user something; returns how many. Call it until there are
    none."""
    table = handle.info["database"].outbox
    theirs = (table.c.queue == NOTICES, table.c.payload.contains({"user_ids": [user_id]}))
    sent = select(table.c.id).where(*theirs, table.c.published_at.is_not(None)).limit(limit)
    return handle.execute(delete(table).where(table.c.id.in_(sent))).rowcount


def purge(handle: Connection, older_than: timedelta, limit: int) -> int:
    """Remove up to `limit` events that were sent longer ago than that; returns how many."""
    table = handle.info["database"].outbox
    old = select(table.c.id).where(table.c.published_at < func.now() - older_than).limit(limit)
    return handle.execute(delete(table).where(table.c.id.in_(old))).rowcount
