"""Work that spans databases: a chain of steps, each one transaction in one database, tied together by events.

A step applies one event and emits those that follow from it, in the same transaction; the inbox sees to it that it
does so once. Ids of events are derived from what they follow from. So the steps may be run by whoever holds an event:
the request that began the work, at once, and the queue, as often as it likes.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, select

from itlc import events
from itlc.errors import Poison
from itlc.events import Event
from itlc.stores import inbox, outbox
from itlc.stores.postgres import Database


class Payload(BaseModel):
    """What an event of a saga says."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Said = TypeVar("Said", bound=Payload)


def said(kind: type[Said], event: Event) -> Said:
    """What `event` says. Raises Poison when it says something else."""
    try:
        return kind.model_validate(event.payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Poison(f"the payload of a `{event.type}` cannot be read: {field}: {first['msg']}") from error


def first_event(queue: str, type: str, about: str, payload: Payload, *, id: uuid.UUID) -> Event:
    """The event that begins a saga; its `id` comes from its cause."""
    return events.event(queue, type, about, payload.model_dump(mode="json"), id=id)


def then(before: Event, type: str, payload: Payload, *, part: str = "") -> Event:
    """An event that follows from `before`: the same each time. `part` tells several of one type apart."""
    return events.event(
        before.queue, type, before.aggregate, payload.model_dump(mode="json"), id=_id_after(before, type, part)
    )


def _id_after(before: Event, type: str, part: str = "") -> uuid.UUID:
    return uuid.uuid5(uuid.UUID(before.id), f"{type}{part}")


@dataclass(frozen=True)
class Cause:
    """Where an event comes from: `made_again(db, event)` is the event as the rows of `store` have it, which say what it
    asks for, or as that database has sent it. It raises Poison where there is none."""

    store: Database
    kind: type[Payload]
    made_again: Callable[[Connection, Event], Event]

    def confirm(self, event: Event) -> None:
        """Raise Poison unless this is the event that its cause makes, by its id and by what it says; StoreAway."""
        asked = said(self.kind, event)
        with self.store.read() as db:
            made = self.made_again(db, event)
        if said(self.kind, made) != asked:
            raise Poison(f"a `{event.type}` of {event.aggregate} says something else than its cause")
        if _identity(made) != _identity(event):
            raise Poison(f"a `{event.type}` of {event.aggregate} is not the one that its cause makes, {made.id}")


def _identity(event: Event) -> tuple[uuid.UUID, str, str, int | None]:
    return uuid.UUID(event.id), event.type, event.aggregate, event.aggregate_version


def sent_by(store: Database, kind: type[Payload]) -> Cause:
    """The cause of what one database tells another: that it is in its outbox."""
    return Cause(store, kind, _sent)


def _sent(db: Connection, event: Event) -> Event:
    sent = outbox.find(db, event.id)
    if sent is None:
        raise Poison(f"{db.info['database'].name} has sent no such `{event.type}`")
    return sent


Work = Callable[[Connection, Event], Sequence[Event]]
WHOLE = ("",)


@dataclass(frozen=True)
class Step:
    """What is done with one type of event: `work(db, event)` in one transaction of `store` returns what follows, told
    apart by the event's `parts` (see `then`). The event has a `cause`. Where it is `owed`, the step before has settled
    the matter, and this one only hands over what somebody is due."""

    store: Database
    work: Work
    cause: Cause
    parts: Callable[[Event], Sequence[str]] = lambda _: WHOLE
    owed: bool = False

    def take(self, db: Connection, event: Event) -> Sequence[Event]:
        """Do the work, and emit what follows from it, in the transaction at hand; returns what follows."""
        following = self.work(db, event)
        for one in following:
            outbox.emit(db, one)
        return following


@dataclass(frozen=True)
class Limit:
    """After how many seconds a run begins no further step: one that is `owed` may begin later than any other."""

    seconds: float
    owed_seconds: float


@dataclass(frozen=True)
class Saga:
    """The steps of one kind of work, by the type of their event. `consumer` is the queue operation that runs them."""

    consumer: str
    steps: Mapping[str, Step]

    def receive(self, event: Event) -> None:
        """Apply an event that came out of a queue, where somebody else might have put it: not before it is confirmed
        by its cause. Whoever has just made an event applies it as it is. Raises as `apply` does."""
        step = self.steps.get(event.type)
        if step is not None:
            step.cause.confirm(event)
        self.apply(event)

    def apply(self, event: Event) -> Sequence[Event]:
        """Do the one step that `event` asks for, and return what follows from it.

        Where it was done before, nothing is done; what followed then is returned, as far as it is still known.
        Raises Poison for what can never be done, StoreAway when the step's database is away.
        """
        step = self.steps.get(event.type)
        if step is None:
            raise Poison(f"there is no event type {event.type!r} in the queue {event.queue!r}")

        def transaction(db: Connection) -> Sequence[Event]:
            return step.take(db, event) if inbox.first_time(db, self.consumer, event) else self._followed(db, event)

        return step.store.write(transaction)

    def followed(self, db: Connection, event: Event) -> Sequence[Event] | None:
        """What followed from `event` in this database, as far as it is still known; None where it was not applied."""
        return self._followed(db, event) if inbox.applied(db, self.consumer, event) else None

    def apply_again(self, event: Event) -> Sequence[Event]:
        """Do a step once more, as what followed from it is no longer known, and return what follows. For a step that
        finds what it did before and does only what is missing. Raises as `apply` does."""
        step = self.steps[event.type]
        return step.store.write(lambda db: step.take(db, event))

    def run(self, event: Event, limit: Limit | None = None) -> None:
        """Do the step that `event` asks for, and all that follow from it, within the limit. What is left is in the
        queue."""
        began = time.monotonic()
        waiting = [event]
        while waiting and (limit is None or time.monotonic() - began < self._seconds_for(waiting[0], limit)):
            waiting.extend(self.apply(waiting.pop(0)))

    def _seconds_for(self, event: Event, limit: Limit) -> float:
        return limit.owed_seconds if self.steps[event.type].owed else limit.seconds

    def _followed(self, db: Connection, event: Event) -> list[Event]:
        table = db.info["database"].outbox
        parts = self.steps[event.type].parts(event)
        possible = [_id_after(event, type, part) for type in self.steps for part in parts]
        rows = db.execute(select(table).where(table.c.id.in_(possible)))
        return [outbox.as_event(row) for row in rows]
