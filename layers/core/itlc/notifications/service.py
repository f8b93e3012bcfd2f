"""What users were told: read, marked, deleted, and purged in the end."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from itlc import audit
from itlc.access import Caller
from itlc.errors import NotFound
from itlc.notifications import repository
from itlc.notifications.schemas import MarkNotification, NotificationQuery, NotificationView, UnreadCount
from itlc.paging import Found
from itlc.preconditions import IfMatch
from itlc.stores import postgres

BATCH = 1000


def list_notifications(db: Connection, query: NotificationQuery, *, caller: Caller) -> Found[NotificationView]:
    """A page of what the caller was told, newest first."""
    return repository.notifications_of_user(db, caller.id, query).map(view)


def count_unread(db: Connection, *, caller: Caller) -> UnreadCount:
    """How many notifications the caller has not read."""
    return UnreadCount(unread_count=repository.count_unread(db, caller.id))


def mark_notification(
    db: Connection, notification_id: int, request: MarkNotification, *, caller: Caller, if_match: IfMatch
) -> NotificationView:
    """The notification as it is after the change. Raises NotFound when it is not the caller's, PreconditionFailed."""
    row = _own(db, notification_id, caller, if_match)
    if "read_status" not in request.model_fields_set or request.read_status == row.read_status:
        return view(row)
    changed = repository.mark(db, notification_id, request.read_status)
    _note_if_privileged(db, caller, row, "mark_notification", {"read_status": request.read_status})
    return view(changed)


def mark_all_read(*, caller: Caller) -> None:
    """Mark all that the caller has not read, in batches: where it is cut off, the next one goes on. Opens `itlc_orders`
    itself."""
    while postgres.orders.write(lambda db: repository.mark_read(db, caller.id, BATCH)) == BATCH:
        pass


def delete_notification(db: Connection, notification_id: int, *, caller: Caller, if_match: IfMatch) -> None:
    """Delete a notification. Raises NotFound when it is not the caller's, PreconditionFailed."""
    row = _own(db, notification_id, caller, if_match)
    repository.remove(db, notification_id)
    _note_if_privileged(db, caller, row, "delete_notification", None)


def purge_notifications(db: Connection, older_than: timedelta) -> int:
    """Delete one batch of read notifications that are older than that; returns how many."""
    return repository.purge_read(db, older_than, BATCH)


def view(row: Row[Any]) -> NotificationView:
    """A notification's row as it is answered."""
    return NotificationView.model_validate(row)


def _own(db: Connection, notification_id: int, caller: Caller, if_match: IfMatch) -> Row[Any]:
    row = repository.notification_for_change(db, notification_id)
    if row is None:
        raise NotFound("There is no such notification.")
    caller.must_see("notification", row.user_id)
    if_match.check(view(row))
    return row


def _note_if_privileged(
    db: Connection, caller: Caller, before: Row[Any], action: str, after: dict[str, Any] | None
) -> None:
    if caller.user_id != before.user_id:
        was = {"user_id": before.user_id, "read_status": before.read_status}
        audit.record(db, caller.user_id, action, f"notification:{before.id}", before=was, after=after)
