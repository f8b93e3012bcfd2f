"""How a service is rated, as the catalogue shows it: a projection of the ratings that customers give in MongoDB."""

from typing import Annotated

from pydantic import Field, ValidationError
from sqlalchemy import Connection

from itlc import events
from itlc.catalog import repository
from itlc.errors import Poison
from itlc.fields import Id, Input
from itlc.stores import inbox


class Rated(Input):
    """The payload of an event of type `rated`: what an order's rating says now. Its `version` grows with each one."""

    order_id: Id
    service_id: Id
    rating: Annotated[int, Field(ge=1, le=5)]
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]


def read_rated(event: events.Event) -> Rated:
    """What the event says. Raises Poison, with the reason, for what tells of no rating."""
    if event.type != "rated":
        raise Poison(f"the queue ratings knows the type rated, not {event.type[:64]!r}")
    try:
        return Rated.model_validate(event.payload, strict=True)
    except ValidationError as error:
        wrong = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors())
        raise Poison(f"the payload of a rated event is wrong in: {wrong}") from error


def project(db: Connection, consumer: str, event: events.Event) -> None:
    """Let the service's count and sum follow one rating. What comes twice, or after a newer version, changes nothing.

    Raises Poison for what tells of no rating, and for a service that never was.
    """
    rated = read_rated(event)
    if not inbox.first_time(db, consumer, event):
        return
    # The service's row is the lock: two versions of one rating take turns, so that neither misses what the other wrote.
    if repository.service_for_change(db, rated.service_id) is None:
        raise Poison(f"there never was a service {rated.service_id}")
    known = repository.rating(db, rated.order_id)
    if known is not None and known.service_id != rated.service_id:
        raise Poison(f"order {rated.order_id} is one of service {known.service_id}, not {rated.service_id}")
    if known is not None and known.version >= rated.version:
        return
    repository.keep_rating(db, **rated.model_dump())
    count, before = (1, 0) if known is None else (0, known.rating)
    repository.add_to_ratings(db, rated.service_id, count=count, sum=rated.rating - before)
