"""The inbox of a PostgreSQL database: which messages were applied here, noted in the transaction of their effect.

With each is noted the fingerprint of what it said: the hash that PostgreSQL makes of its type, aggregate, version and
payload, in the form of `jsonb`. So whoever has an event, as the row of an outbox or as a JSON text, can have the same
made by any of the databases, in whatever order the keys of an object stand.
"""

import json
import re
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from itlc.errors import Poison
from itlc.events import Event

NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape of the sign U+0000 in a JSON text: behind an even number of backslashes."""


def first_time(handle: Connection, consumer: str, event: Event) -> bool:
    """Note in the inbox that `consumer` applies `event` in this transaction; False when it already did.

    Raises Poison when what it applied under this id said something else."""
    table = handle.info["database"].inbox
    message_id, said = uuid.UUID(event.id), _fingerprint(event)
    row = insert(table).values(consumer=consumer, message_id=message_id, fingerprint=said).on_conflict_do_nothing()
    if handle.execute(row).rowcount == 1:
        return True
    other = select(table.c.message_id).where(
        table.c.consumer == consumer, table.c.message_id == message_id, table.c.fingerprint != said
    )
    if handle.execute(other).one_or_none() is not None:
        raise Poison("another message with this id was applied before, and said something else")
    return False


def as_jsonb_takes_it(value: Any) -> str:
    """The JSON text of `value`, with something else for the signs that `jsonb` refuses: an event from elsewhere may
    have them where nobody reads it."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    return NUL.sub(r"\1\\ufffd", text)


def _fingerprint(event: Event) -> ColumnElement[bytes]:
    """The SQL that makes the fingerprint of what an event says."""
    said = func.jsonb_build_array(
        cast(event.type, Text),
        cast(event.aggregate, Text),
        cast(event.aggregate_version, BigInteger),
        cast(literal(as_jsonb_takes_it(event.payload), Text), JSONB),
    )
    return func.sha256(func.convert_to(cast(said, Text), "UTF8"))


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
