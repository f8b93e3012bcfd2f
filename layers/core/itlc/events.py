"""Events between stores: written to the outbox with their cause, sent after the commit, applied once.

`emit` puts an event into the outbox of the transaction at hand. After the commit the seam sends it at once
(`send_now`); whatever could not be sent is swept up by the scheduled relay (`relay`). The consumer writes the
message's id into its own store's inbox in the transaction of the effect (`first_time`), so that a message
delivered twice takes effect once.
"""

import json
import logging
import math
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from itlc.aws import client
from itlc.errors import Poison, StoreAway
from itlc.settings import settings

SCHEMA = 1
CLAIM = timedelta(seconds=30)
SQS_BATCH, SQS_BATCH_BYTES = 10, 256 * 1024
PUT_OFF = timedelta(minutes=1)
FIRST_SENT = "first_sent"
LONGEST_DELAY = timedelta(minutes=15)
"""The longest that SQS keeps a message back."""
SENT_AT_ONCE = 100
"""How many of a commit's events are sent right after it: whoever committed waits for them. The relay sends the rest."""
AGGREGATE = re.compile(r"[\x20-\x7e]{1,128}")
REQUEST_ID = re.compile(r"[\x20-\x7e]{1,64}")
MAX_VERSION = 2**63 - 1
UNKEPT = re.compile("[\0\ud800-\udfff]")

T = TypeVar("T")

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

    @property
    def addressees(self) -> tuple[list[int], list[str]]:
        """Whom a notice tells: users by their ids, and addresses. Nobody, for every other event."""
        return self.payload.get("user_ids", []), self.payload.get("emails", [])

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


def waiting_event(id: str, kept: str) -> Event | None:
    """An event as a store keeps it, by its id; None for what cannot be read, which is logged and keeps no other from
    being sent."""
    try:
        return Event(id=id, **json.loads(kept))
    except (TypeError, ValueError):
        log.exception("an event that waits cannot be read", extra={"event_id": id})
        return None


def read_event(queue: str, body: str) -> Event:
    """The event in a queue message. Raises Poison, with the reason, for what can never be one."""
    try:
        fields = json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
        unkept = any(UNKEPT.search(text) for text in _texts(fields))
    except (ValueError, RecursionError) as error:  # the latter where it nests too deep to be read
        raise Poison("the message is not JSON") from error
    if unkept and queue != "notifications":  # one odd address keeps nobody else from being told
        raise Poison("the message has characters that no store keeps: a NUL or half of a pair")
    if not isinstance(fields, dict) or fields.pop("schema", None) != SCHEMA:
        raise Poison(f"the message is not of schema {SCHEMA}")
    try:
        read = Event(queue=queue, **fields)
        uuid.UUID(read.id)
    except (TypeError, ValueError, AttributeError) as error:
        raise Poison(f"the message lacks a field or has one too many: {error}") from error
    if not isinstance(read.type, str) or not isinstance(read.payload, dict):
        raise Poison("the message's type is not a string or its payload not an object")
    _check_envelope(read)
    return read


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Poison("the message has a number that no store keeps: it is too large")
    return number


def _texts(value: Any) -> Iterator[str]:
    """Every text in a parsed message, the names of fields too."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for name, item in value.items():
                yield name
                yield from _texts(item)


def _check_envelope(read: Event) -> None:
    """Raise Poison for what no outbox could hold: the events that follow carry it on."""
    if not isinstance(read.aggregate, str) or not AGGREGATE.fullmatch(read.aggregate):
        raise Poison("the aggregate is not a name of 1 to 128 characters")
    if read.request_id is not None and not (isinstance(read.request_id, str) and REQUEST_ID.fullmatch(read.request_id)):
        raise Poison("the request's id is not a text of 1 to 64 characters")
    version = read.aggregate_version
    if version is not None and not (type(version) is int and 0 <= version <= MAX_VERSION):
        raise Poison("the aggregate's version is not a whole number")


class QueuesAway(StoreAway):
    """SQS cannot be reached, and took nothing. `unsent` is the number of events that wait."""

    def __init__(self, unsent: int) -> None:
        super().__init__("The queue service")
        self.unsent = unsent


def send(events: Sequence[Event]) -> set[str]:
    """Send events to their queues, several at a time; returns the ids of those that the queues took.

    What a queue refuses is logged and keeps nothing else from being sent. Once SQS cannot be reached, nothing more is
    tried: each try would wait for its timeout. Raises QueuesAway when it had taken nothing by then.
    """
    from botocore.exceptions import ConnectionError, HTTPClientError

    sent: set[str] = set()
    by_queue: dict[str, list[Event]] = {}
    for item in events:
        by_queue.setdefault(item.queue, []).append(item)
    for queue, items in by_queue.items():
        for batch in in_batches(items, Event.body):
            try:
                sent |= _send_batch(queue, batch)
            except (StoreAway, ConnectionError, HTTPClientError) as error:
                if not sent:
                    raise QueuesAway(len(events)) from error
                log.warning("the queue service went away", exc_info=True, extra={"queue": queue})
                return sent
            except Exception:
                log.exception("a queue refused a batch", extra={"queue": queue, "events": len(batch)})
    return sent


def _send_batch(queue: str, batch: Sequence[tuple[Event, str]]) -> set[str]:
    entries = [{"Id": str(number), "MessageBody": body} for number, (_, body) in enumerate(batch)]
    answer = client("sqs").send_message_batch(QueueUrl=settings().queues[queue], Entries=entries)
    if refused := answer.get("Failed", []):
        codes = sorted({failed.get("Code", "") for failed in refused})
        log.error("a queue refused events", extra={"queue": queue, "events": len(refused), "codes": codes})
    return {batch[int(taken["Id"])][0].id for taken in answer.get("Successful", [])}


def in_batches(items: Iterable[T], body: Callable[[T], str]) -> Iterator[list[tuple[T, str]]]:
    """The items, each with its message's `body`, as many at a time as SQS takes in one request, by number and by
    size."""
    batch: list[tuple[T, str]] = []
    size = 0
    for item in items:
        text = body(item)
        length = len(text.encode())
        if batch and (len(batch) == SQS_BATCH or size + length > SQS_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((item, text))
        size += length
    if batch:
        yield batch


def send_later(event: Event, delay: timedelta) -> None:
    """Send one event that its queue is to keep back for so long. Raises ValueError for longer than LONGEST_DELAY, and
    what SQS raises: for a consumer, which is tried again."""
    if delay > LONGEST_DELAY:
        raise ValueError(f"SQS keeps a message back for {LONGEST_DELAY} at most, not for {delay}")
    client("sqs").send_message(
        QueueUrl=settings().queues[event.queue], MessageBody=event.body(), DelaySeconds=int(delay.total_seconds())
    )


def put_off(queue: str, body: str, first_sent: str) -> None:
    """Put a message that waits for a store into its queue once more, as a new one that comes after `PUT_OFF`: what is
    tried too often is a dead letter, and a store may be away for longer than that. It carries on when the first one was
    sent (milliseconds since 1970), or its age would begin anew each time. Raises what SQS raises."""
    client("sqs").send_message(
        QueueUrl=settings().queues[queue],
        MessageBody=body,
        DelaySeconds=int(PUT_OFF.total_seconds()),
        MessageAttributes={FIRST_SENT: {"DataType": "Number", "StringValue": first_sent}},
    )


def bury(queue: str, body: str, reason: str) -> None:
    """Put a message that can never be processed into the queue's dead-letter queue, with the reason as an attribute."""
    reason = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in reason[:256])
    client("sqs").send_message(
        QueueUrl=settings().dead_letter_queues[queue],
        MessageBody=body,
        MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
    )


def send_now(events: Sequence[Event], published: Callable[[set[str]], None]) -> None:
    """Send what a commit just emitted, the first SENT_AT_ONCE of it, and tell its store through `published`. A failure
    here loses nothing: the relay sends what is left when its claim has run out; so it is logged and not raised."""
    if not events:
        return
    events = events[:SENT_AT_ONCE]
    try:
        if sent := send(events):
            published(sent)
    except Exception:
        log.warning("events wait for the relay", exc_info=True, extra={"events": len(events)})
