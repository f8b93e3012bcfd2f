"""What `itlc_orders` knows of a person by their bids: shown to them, and taken out when they leave."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row

from itlc.bids import repository
from itlc.notices import notice
from itlc.redaction import redacted
from itlc.stores import outbox, postgres

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


def erase(user_id: int, words: Iterable[str]) -> None:
    """Remove the messages of the person's bids, and their names and addresses (`words`) from the messages that came
    with bids on services of theirs. The bids stay; they belong to no project any more.

    A batch of bids in each transaction, which may be repeated. Opens `itlc_orders` itself.
    """
    words = tuple(words)
    for as_provider in (False, True):
        erase_some = partial(_erase_some, user_id=user_id, words=words, as_provider=as_provider)
        after = postgres.orders.write(partial(erase_some, after=None))
        while after is not None:
            after = postgres.orders.write(partial(erase_some, after=after))
    postgres.orders.write(lambda db: repository.forget_answers_about(db, user_id))


def _erase_some(
    db: Connection, *, user_id: int, words: tuple[str, ...], as_provider: bool, after: repository.Place | None
) -> repository.Place | None:
    """One batch: the bids after that place. Returns the place of the last, None when there was none."""
    places = repository.some_of_party(db, user_id, as_provider=as_provider, after=after, limit=BATCH)
    if not places:
        return None
    ids = [place.id for place in places]
    said = [row for row in repository.bids_for_change(db, ids) if row.message is not None]
    left = {row.id: None if row.bidder_id == user_id else redacted(row.message, words) for row in said}
    repository.set_messages(db, {row.id: left[row.id] for row in said if left[row.id] != row.message})
    if not as_provider:
        repository.leave_projects(db, ids)
    return places[-1].created_at, places[-1].id


def _tell(db: Connection, row: Row[Any], status: str, *, actor_id: int) -> None:
    message = f"The bid of {row.amount:.2f} on service {row.service_id} was {status}: the other side has left."
    parties = [row.bidder_id, row.provider_user_id]
    cause = f"bid:{row.id}:{status}:left"
    outbox.emit(db, notice(f"bid:{row.id}", message, users=parties, actor_id=actor_id, cause=cause))
