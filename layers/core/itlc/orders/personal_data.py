"""What `itlc_orders` knows of a person by their orders: shown to them, and taken out when they leave."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from itlc.orders import repository
from itlc.redaction import redacted


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


def erase(db: Connection, user_id: int, words: Iterable[str]) -> None:
    """Remove the notes and reasons that the person wrote, and their names and addresses (`words`) from those that
    others wrote on their orders. The orders stay; they belong to no project any more."""
    words = tuple(words)
    for row in repository.orders_of_party(db, user_id):
        if row.cancel_reason is not None:
            reason = None if row.cancelled_by == user_id else redacted(row.cancel_reason, words)
            if reason != row.cancel_reason:
                repository.set_reason(db, row.id, reason)
    for row in repository.checkins_of_party(db, user_id):
        if row.note is not None:
            note = None if row.provider_user_id == user_id else redacted(row.note, words)
            if note != row.note:
                repository.set_note(db, row.id, note)
    repository.leave_projects(db, user_id)
