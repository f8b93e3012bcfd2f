"""What a person was told: shown to them, and gone when they leave."""

from typing import Any

from sqlalchemy import Connection

from itlc.notifications import repository

BATCH = 1000


def export(db: Connection, user_id: int) -> dict[str, Any]:
    """All of the person's notifications."""
    return {"notifications": [dict(row._mapping) for row in repository.all_of_user(db, user_id)]}


def erase(db: Connection, user_id: int) -> int:
    """Delete one batch of the person's notifications. Returns how many; call it until there are none."""
    return repository.remove_all(db, user_id, BATCH)
