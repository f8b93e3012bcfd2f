"""Closing an account or a project: from then on no bid and no order can come.

Whoever makes a bid or an order shares the accounts of both sides, and the bid's project, until the transaction ends;
who closes one of them waits for all who share it, and then looks. So none can slip in between the look and the closing.

An account closes for good, once nothing is left to do or to pay. A project closes while MongoDB deletes it, and for the
requests that have seen it there before: a function ends after seconds, so some minutes are enough for all of them.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func

from itlc import audit, events
from itlc.access import Caller
from itlc.errors import Conflict, Passing, PreconditionFailed, StoreAway
from itlc.notices import notice
from itlc.orders import model, repository
from itlc.orders.service import refresh_all_progress
from itlc.stores import outbox, postgres

NAMESPACE = uuid.UUID("1d7c3f52-3f0b-5d6e-8d6b-9a4f6f1b7e31")
QUEUE, TYPE = "erasures", "erase"
UNSETTLED: tuple[model.Status, ...] = ("created", "in_progress", "completed", "paying")
LAPSE = timedelta(minutes=5)
"""For how long a project is closed: many times as long as the functions that delete it or make its orders may run."""
SWEPT = 100


def must_be_open(db: Connection, *user_ids: int) -> None:
    """Raise Conflict when one of these accounts is closed; else none of them is closed before the transaction ends."""
    parties = sorted(set(user_ids))
    for user_id in parties:
        repository.share_account(db, user_id)
    if repository.closed_among(db, parties):
        raise Conflict("The account of one of the two sides is closed: there can be no new bids and orders.")


def close_account(db: Connection, *, caller: Caller) -> None:
    """Close the caller's account, and have the rest of them erased (the event `erase`).

    The orders that they completed as a provider and that nobody has paid are waived, and their customers are told.
    Raises Conflict, naming them, when orders are under way, or theirs to pay.
    """
    repository.hold_account(db, caller.id)
    rows = repository.orders_of_party_for_change(db, caller.id, UNSETTLED)
    _refuse([row for row in rows if row.status != "completed" or row.user_id == caller.id])
    repository.close_account(db, caller.id)
    id = uuid.uuid5(NAMESPACE, f"erase:{caller.id}")
    # The first of all, so that it is sent at once, however many there are to be told.
    outbox.emit(db, events.event(QUEUE, TYPE, f"user:{caller.id}", {"user_id": caller.id}, id=id))
    if rows:
        _waive(db, rows, caller)


def _refuse(rows: Sequence[Row[Any]]) -> None:
    if rows:
        named = ", ".join(f"{row.id} ({'to be paid' if row.status == 'completed' else row.status})" for row in rows)
        raise Conflict(f"Settle your orders first: {named}.")


def _waive(db: Connection, rows: Sequence[Row[Any]], caller: Caller) -> None:
    """Cancel these orders, which are completed: in as many statements for a thousand of them as for some hundred."""
    status = model.after("completed", "waive")
    repository.change_orders(
        db, [row.id for row in rows], status=status, cancelled_by=caller.id, cancelled_at=func.clock_timestamp()
    )
    outbox.emit_all(db, [_waived(row, caller) for row in rows])
    orders = [f"order:{row.id}" for row in rows]
    audit.record_all(db, caller.id, "erase_me", orders, before={"status": "completed"}, after={"status": status})
    refresh_all_progress(db, {row.project_id for row in rows if row.project_id is not None})


def _waived(row: Row[Any], caller: Caller) -> events.Event:
    message = f"Order {row.id} was cancelled: its provider has left, and nothing is to be paid."
    return notice(f"order:{row.id}", message, users=[row.user_id], actor_id=caller.id)


def project_must_be_open(db: Connection, project_id: str | None) -> None:
    """Raise Conflict when the project is closed; else it is not closed before the transaction ends. Nothing to ask
    where there is none."""
    if project_id is None:
        return
    repository.share_project(db, project_id)
    if repository.is_closed(db, project_id, LAPSE):
        raise Passing("This project is being deleted: it gets no new bids and orders.")


@contextmanager
def closed_project(project_id: str) -> Iterator[None]:
    """Keep bids and orders from a project while it is deleted, within. Opens `itlc_orders` itself.

    Raises Conflict once the project has an order, cancelled ones too. Where the deletion is refused, since the project
    has changed, it opens again at once. Where nobody knows what became of the deletion (the process died, MongoDB gave
    no answer) the closing lapses, unless the deletion is asked for again before: a project that is still there is as
    it was, and one that is gone is not found.
    """
    closed_at = postgres.orders.write(lambda db: _close_project(db, project_id))
    try:
        yield
    except (Conflict, PreconditionFailed):
        with suppress(StoreAway):  # then it lapses
            postgres.orders.write(lambda db: repository.open_project(db, project_id, closed_at))
        raise


def _close_project(db: Connection, project_id: str) -> datetime:
    repository.hold_project(db, project_id)
    if repository.project_has_orders(db, project_id):
        raise Conflict("This project has orders: it can no longer be deleted.")
    repository.forget_lapsed(db, LAPSE, SWEPT)
    return repository.close_project(db, project_id)
