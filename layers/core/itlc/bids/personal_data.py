"""What `itlc_orders` knows of a person by their bids: shown to them, and taken out when they leave."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row

from itlc.bids import repository
from itlc.notices import notice
from itlc.redaction import redacted
from itlc.stores import outbox

BATCH = 200


def export(db: Connection, user_id: int) -> dict[str, Any]:
    """The bids that the person made, and those that they got as a provider."""
    rows = [dict(row._mapping) for row in repository.bids_of_party(db, user_id)]
    return {
        "bids": [row for row in rows if row["bidder_id"] == user_id],
        "bids_received": [row for row in rows if row["bidder_id"] != user_id],
    }


def close_open_bids(db: Connection, user_id: int) -> int:
    """One batch of the open bids: those that the person made are withdrawn, those on services of theirs rejected, and
    the other side is told. Returns how many; call it until there are none."""
    rows = repository.open_bids_for_change(db, user_id, BATCH)
    for row in rows:
        status = "withdrawn" if row.bidder_id == user_id else "rejected"
        repository.change_bid(db, row.id, status=status)
        _tell(db, row, status, actor_id=user_id)
    return len(rows)


def erase(db: Connection, user_id: int, words: Iterable[str]) -> None:
    """Remove the messages of the person's bids, and their names and addresses (`words`) from the messages that came
    with bids on services of theirs. The bids stay; they belong to no project any more."""
    words = tuple(words)
    for row in repository.bids_of_party(db, user_id):
        if row.message is not None:
            message = None if row.bidder_id == user_id else redacted(row.message, words)
            if message != row.message:
                repository.set_message(db, row.id, message)
    repository.leave_projects(db, user_id)
    repository.forget_answers_about(db, user_id)


def _tell(db: Connection, row: Row[Any], status: str, *, actor_id: int) -> None:
    message = f"The bid of {row.amount:.2f} on service {row.service_id} was {status}: the other side has left."
    parties = [row.bidder_id, row.provider_user_id]
    cause = f"bid:{row.id}:{status}:left"
    outbox.emit(db, notice(f"bid:{row.id}", message, users=parties, actor_id=actor_id, cause=cause))
