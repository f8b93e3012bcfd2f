"""What `itlc_api` knows of a person: shown to them, and taken out when they leave."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row

from itlc.accounts.model import NAME_OF_NOBODY, email_of_nobody
from itlc.catalog import repository
from itlc.catalog.model import WITHDRAWN
from itlc.redaction import redacted

COMPUTED = ("search",)
"""Columns that only repeat others."""


def export(db: Connection, user_id: int) -> dict[str, Any]:
    """The person's provider profile (None without one) and all its services."""
    profile = repository.provider_of_user(db, user_id)
    services = [] if profile is None else repository.services_of_provider(db, profile.id)
    return {"provider": None if profile is None else _plain(profile), "services": [_plain(row) for row in services]}


def known_as(db: Connection, user_id: int) -> tuple[str, str] | None:
    """Name and address of the person's profile, as long as it has them; None without one."""
    profile = repository.provider_of_user(db, user_id)
    return None if profile is None else (profile.name, profile.email)


def erase(db: Connection, user_id: int, words: Iterable[str]) -> None:
    """Take name and address off the person's profile, withdraw what it offers, and take their names and addresses
    (`words`) out of what these services say."""
    words = tuple(words)
    profile = repository.profile_of_user(db, user_id)
    if profile is None:
        return
    if profile.erased_at is None:
        repository.erase_provider(db, profile.id, name=NAME_OF_NOBODY, email=email_of_nobody(profile.id))
    for row in repository.services_of_provider(db, profile.id):
        after = {
            "status": WITHDRAWN,
            "name": redacted(row.name, words),
            "description": redacted(row.description, words),
        }
        if any(getattr(row, field) != value for field, value in after.items()):
            repository.change_service(db, row.id, after)


def _plain(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in COMPUTED}
