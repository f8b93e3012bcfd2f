"""Events between stores: written to the outbox with their cause, sent after the commit, applied once.

`emit` puts an event into the outbox of the transaction at hand. After the commit the seam sends it at once
(`send_now`); whatever could not be sent is swept up by the scheduled relay (`relay`). The consumer writes the
message's id into its own store's inbox in the transaction of the effect (`first_time`), so that a message
delivered twice takes effect once.
"""

import json
import logging
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.postgresql import insert

from itlc.aws import client
from itlc.errors import Poison
from itlc.settings import settings

SCHEMA = 1
CLAIM = timedelta(seconds=30)
SQS_BATCH = 10

log = logging.getLogger(__name__)
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request at hand; the seam sets it, events and audit records carry it."""


@dataclass(frozen=True)
class Event:
    """Something that happened in one store and has to take effect in another.

    `aggregate` names what it is about (`order:12`); `aggregate_version`, where order matters, counts its changes.
    """

    queue: str
    type: str
    aggregate: str
    payload: dict[str, Any]
    id: str
    created_at: str
    aggregate_version: int | None = None
    request_id: str | None = None

    def body(self) -> str:
        """The message as it travels: one JSON object, with the version of this form."""
        fields = asdict(self)
        del fields["queue"]
        return json.dumps({"schema": SCHEMA, **fields}, separators=(",", ":"))


def event(
    queue: str,
    type: str,
    aggregate: str,
    payload: dict[str, Any],
    *,
    version: int | None = None,
    id: uuid.UUID | None = None,
) -> Event:
    """A new event, for the outbox of a store. An `id` derived from its cause makes it the same event each time."""
    return Event(
        queue=queue,
        type=type,
        aggregate=aggregate,
        payload=payload,
        id=str(id or uuid.uuid4()),
        created_at=datetime.now(UTC).isoformat(),
        aggregate_version=version,
        request_id=request_id.get(),
    )


def read_event(queue: str, body: str) -> Event:
    """The event in a queue message. Raises Poison, with the reason, for what can never be one."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise Poison("the message is not JSON") from error
    if not isinstance(fields, dict) or fields.pop("schema", None) != SCHEMA:
        raise Poison(f"the message is not of schema {SCHEMA}")
    try:
        read = Event(queue=queue, **fields)
        uuid.UUID(read.id)
    except (TypeError, ValueError, AttributeError) as error:
        raise Poison(f"the message lacks a field or has one too many: {error}") from error
    if not isinstance(read.type, str) or not isinstance(read.payload, dict):
        raise Poison("the message's type is not a string or its payload not an object")
    return read


def emit(handle: Connection, event: Event) -> None:
    """Write `event` to the outbox of the transaction at hand; it is claimed for the seam to send after the commit.

    An event whose id was written before is not written again.
    """
    table = handle.info["database"].outbox
    row = {name: value for name, value in asdict(event).items() if name != "created_at"}
    handle.execute(
        insert(table).values(**row, claimed_until=func.now() + CLAIM).on_conflict_do_nothing(index_elements=["id"])
    )
    handle.info.setdefault("emitted", []).append(event)


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


def send(events: Sequence[Event]) -> set[str]:
    """Send events to their queues, ten at a time; returns the ids of those that the queues took."""
    sent: set[str] = set()
    by_queue: dict[str, list[Event]] = {}
    for item in events:
        by_queue.setdefault(item.queue, []).append(item)
    for queue, items in by_queue.items():
        url = settings().queues[queue]
        for start in range(0, len(items), SQS_BATCH):
            batch = items[start : start + SQS_BATCH]
            entries = [{"Id": str(n), "MessageBody": item.body()} for n, item in enumerate(batch)]
            answer = client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
            sent.update(batch[int(taken["Id"])].id for taken in answer.get("Successful", []))
    return sent


def bury(queue: str, body: str, reason: str) -> None:
    """Put a message that can never be processed into the queue's dead-letter queue, with the reason as an attribute."""
    client("sqs").send_message(
        QueueUrl=settings().dead_letter_queues[queue],
        MessageBody=body,
        MessageAttributes={"reason": {"DataType": "String", "StringValue": reason[:256]}},
    )


def send_now(events: Sequence[Event], published: Callable[[set[str]], None]) -> None:
    """Send what a commit just emitted, and tell its store through `published`. A failure here loses nothing: the
    relay sends what is left when its claim has run out; so it is logged and not raised."""
    if not events:
        return
    try:
        published(send(events))
    except Exception:
        log.warning("events wait for the relay", exc_info=True, extra={"events": len(events)})


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
    )
    taken = (
        update(table)
        .where(table.c.id.in_(waiting))
        .values(claimed_until=func.now() + CLAIM, attempts=table.c.attempts + 1)
        .returning(table)
    )
    rows = sorted(handle.execute(taken), key=lambda row: row.created_at)
    return [
        Event(
            queue=row.queue,
            type=row.type,
            aggregate=row.aggregate,
            payload=row.payload,
            id=str(row.id),
            created_at=row.created_at.isoformat(),
            aggregate_version=row.aggregate_version,
            request_id=row.request_id,
        )
        for row in rows
    ]


def purge_published(handle: Connection, older_than: timedelta, limit: int) -> int:
    """Remove up to `limit` events that were sent longer ago than that; returns how many."""
    table = handle.info["database"].outbox
    old = select(table.c.id).where(table.c.published_at < func.now() - older_than).limit(limit)
    return handle.execute(delete_from(table).where(table.c.id.in_(old))).rowcount


def purge_inbox(handle: Connection, older_than: timedelta, limit: int) -> int:
    """Remove up to `limit` inbox rows older than that (longer than any queue keeps a message); returns how many."""
    table = handle.info["database"].inbox
    old = (
        select(table.c.consumer, table.c.message_id)
        .where(table.c.received_at < func.now() - older_than)
        .limit(limit)
        .cte()
    )
    gone = delete_from(table).where(table.c.consumer == old.c.consumer, table.c.message_id == old.c.message_id)
    return handle.execute(gone).rowcount
