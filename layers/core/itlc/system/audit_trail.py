"""The audit as administrators read it: the records of five databases as one list, newest first; and how the acts get
there that were done in MongoDB and Neo4j."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Row

from itlc.accounts.service import was_user
from itlc.audit_events import TYPE
from itlc.errors import Poison
from itlc.events import Event
from itlc.fields import Id
from itlc.paging import Found, Position, cut
from itlc.stores import inbox, postgres
from itlc.stores.postgres import Database
from itlc.system import audit_records
from itlc.system.schemas import AuditQuery, AuditView

BEYOND = 2**63 - 1
"""Above every number of a record."""


def list_audit(query: AuditQuery) -> Found[AuditView]:
    """A page of all acts on record, newest first. Opens the five databases itself. Raises StoreAway.

    Records of one moment follow each other by the database's place among the five, then by their numbers. So a page
    takes from each database the first that come after the position, and the first of all these.
    """
    found: list[tuple[Position, AuditView]] = []
    for place, database in enumerate(postgres.DATABASES):
        with database.read() as db:
            rows = audit_records.newest_acts(db, query, before=_before(query, place), limit=query.limit + 1)
        found += [((row.created_at, place, row.id), _view(row, database)) for row in rows]
    found.sort(key=_rank, reverse=True)
    return cut(found, query, lambda item: item[0]).map(lambda item: item[1])


def _rank(item: tuple[Position, AuditView]) -> Position:
    moment, place, number = item[0]
    return moment, -place, number


def _before(query: AuditQuery, place: int) -> tuple[datetime, int] | None:
    """From where on this database's records come after the query's position."""
    if query.after is None:
        return None
    moment, at, number = query.after
    if place == at:
        return moment, number
    return moment, BEYOND if place > at else 0


def _view(row: Row[Any], database: Database) -> AuditView:
    number = f"{database.name.removeprefix('itlc_')}-{row.id}"
    return AuditView.model_validate({**row._mapping, "id": number})


class Act(BaseModel):
    """The payload of an event of type `act`. What it was done to is the event's aggregate."""

    model_config = ConfigDict(extra="forbid")

    actor_id: Id
    action: str = Field(min_length=1, max_length=64)
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def read_act(event: Event) -> Act:
    """What the event says was done. Raises Poison, with the reason, for what tells of no act, or of one by somebody
    who never was."""
    if event.type != TYPE:
        raise Poison(f"the queue audit knows the type {TYPE}, not {event.type[:64]!r}")
    try:
        datetime.fromisoformat(event.created_at)
        act = Act.model_validate(event.payload, strict=True)
    except ValidationError as error:
        wrong = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors())
        raise Poison(f"the payload of an act is wrong in: {wrong}") from error
    except (TypeError, ValueError) as error:
        raise Poison("the act's time cannot be read") from error
    if not was_user(act.actor_id):
        raise Poison(f"there never was a user {act.actor_id}")
    return act


def record(db: Connection, consumer: str, event: Event, act: Act) -> None:
    """Put the act on record, once, with the time at which it was done."""
    if inbox.first_time(db, consumer, event):
        done_at = datetime.fromisoformat(event.created_at)
        said = {**act.model_dump(), "object": event.aggregate, "request_id": event.request_id}
        audit_records.add_act(db, **said, created_at=done_at)
