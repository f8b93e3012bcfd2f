"""The record of privileged and money-moving acts: append-only, written in the transaction of the act itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from itlc.events import request_id

ROWS = 200
"""How many records are written by one statement."""


def record(
    db: Connection,
    actor_id: int | None,
    action: str,
    object_name: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Note that `actor_id` (None for the operator's command) did `action` (the operation's name) to an object such as
    `order:12`. `before` and `after` hold the fields that changed, in JSON's own types, and nothing personal."""
    row = {"actor_id": actor_id, "action": action, "object": object_name, "before": before, "after": after}
    db.execute(insert(db.info["database"].audit).values(**row, request_id=request_id.get()))


def record_all(
    db: Connection,
    actor_id: int | None,
    action: str,
    object_names: Sequence[str],
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Note that an act was done to many objects, to each the same, in few statements."""
    row = {"actor_id": actor_id, "action": action, "before": before, "after": after, "request_id": request_id.get()}
    for begin in range(0, len(object_names), ROWS):
        rows = [{**row, "object": name} for name in object_names[begin : begin + ROWS]]
        db.execute(insert(db.info["database"].audit).values(rows))


def about_user(db: Connection, user_id: int) -> list[dict[str, Any]]:
    """What this database's audit says of a user: what they did, and what was done to their account; oldest first."""
    table = db.info["database"].audit
    theirs = select(table).where(or_(table.c.actor_id == user_id, table.c.object == f"user:{user_id}"))
    return [dict(row) for row in db.execute(theirs.order_by(table.c.created_at, table.c.id)).mappings()]
