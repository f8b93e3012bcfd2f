"""The queries on the audit of each PostgreSQL database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, tuple_

from itlc.system.schemas import AuditQuery


def newest_acts(
    db: Connection, query: AuditQuery, *, before: tuple[datetime, int] | None, limit: int
) -> Sequence[Row[Any]]:
    """Up to `limit` of the acts in this database's audit that the query asks for, newest first, from before this time
    and number on."""
    audit = db.info["database"].audit
    statement = select(audit)
    if query.actor_id is not None:
        statement = statement.where(audit.c.actor_id == query.actor_id)
    if query.object is not None:
        statement = statement.where(audit.c.object == query.object)
    if before is not None:
        statement = statement.where(tuple_(audit.c.created_at, audit.c.id) < tuple_(*before))
    return db.execute(statement.order_by(audit.c.created_at.desc(), audit.c.id.desc()).limit(limit)).all()


def add_act(db: Connection, **fields: Any) -> None:
    """Put an act on record that was done in another store."""
    db.execute(insert(db.info["database"].audit).values(**fields))
