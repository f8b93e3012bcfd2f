"""What `itlc_orders` knows of a person by their orders: shown to them, and taken out when they leave."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection

from itlc.orders import repository
from itlc.redaction import redacted
from itlc.stores import postgres

BATCH = 200


def export(db: Connection, user_id: int) -> dict[str, Any]:
    """The person's orders, as either party, with all check-ins, and how their projects stand by them."""
    checkins = [dict(row._mapping) for row in repository.checkins_of_party(db, user_id)]
    for checkin in checkins:
        del checkin["provider_user_id"]
    return {
        "orders": [dict(row._mapping) for row in repository.orders_of_party(db, user_id)],
        "checkins": checkins,
        "project_progress": [dict(row._mapping) for row in repository.progress_of_owner(db, user_id)],
    }


def order_ids(db: Connection, user_id: int) -> list[int]:
    """The ids of the person's orders, as either party."""
    return [int(row.id) for row in repository.orders_of_party(db, user_id)]


def is_closed(db: Connection, user_id: int) -> bool:
    """Whether the person's account is closed."""
    return user_id in repository.closed_among(db, [user_id])


def erase(user_id: int, words: Iterable[str]) -> None:
    """Remove the notes and reasons that the person wrote, and their names and addresses (`words`) from those that
    others wrote on their orders. The orders stay; they belong to no project any more.

    A batch of orders in each transaction, which may be repeated. Opens `itlc_orders` itself.
    """
    words = tuple(words)
    for as_provider in (False, True):
        erase_some = partial(_erase_some, user_id=user_id, words=words, as_provider=as_provider)
        after = postgres.orders.write(partial(erase_some, after=None))
        while after is not None:
            after = postgres.orders.write(partial(erase_some, after=after))
    # Once all orders have left them, nobody counts these projects up any more.
    while postgres.orders.write(lambda db: repository.forget_progress(db, user_id, BATCH)):
        pass


def _erase_some(
    db: Connection, *, user_id: int, words: tuple[str, ...], as_provider: bool, after: repository.Place | None
) -> repository.Place | None:
    """One batch: the orders after that place. Returns the place of the last, None when there was none."""
    places = repository.some_of_party(db, user_id, as_provider=as_provider, after=after, limit=BATCH)
    if not places:
        return None
    ids = [place.id for place in places]
    reasons = {row.id: (row.cancel_reason, row.cancelled_by) for row in repository.orders_for_change(db, ids)}
    repository.set_reasons(db, _changed(reasons, user_id, words))
    notes = {row.id: (row.note, row.provider_user_id) for row in repository.notes_of_orders(db, ids)}
    repository.set_notes(db, _changed(notes, user_id, words))
    if not as_provider:
        repository.leave_projects(db, ids)
    return places[-1].created_at, places[-1].id


def _changed(
    texts: Mapping[int, tuple[str | None, int | None]], user_id: int, words: tuple[str, ...]
) -> dict[int, str | None]:
    """What becomes of those of these texts, each with who wrote it, that do not stay as they are."""
    after = {
        id: (text, None if text is None or writer == user_id else redacted(text, words))
        for id, (text, writer) in texts.items()
    }
    return {id: new for id, (old, new) in after.items() if new != old}
