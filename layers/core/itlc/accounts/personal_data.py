"""What `itlc_users` knows of a person: shown to them, and taken out when they leave."""

import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from itlc import audit
from itlc.accounts import repository
from itlc.accounts.model import ERASED, NAME_OF_NOBODY, email_of_nobody
from itlc.accounts.service import there
from itlc.stores import keys, postgres
from itlc.wallet import ledger

log = logging.getLogger(__name__)


def export(db: Connection, user_id: int) -> dict[str, Any]:
    """The person's account and sessions, without what would let anybody in. Raises Unauthenticated when they were
    erased."""
    user = dict(there(repository.user(db, user_id))._mapping)
    del user["password"]

    def plain(rows: Any) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in rows]

    return {
        "user": user,
        "sessions": plain(repository.sessions_of(db, user_id)),
        "refresh_tokens": plain(repository.refreshes_of(db, user_id)),
        "password_resets": plain(repository.resets_of(db, user_id)),
        "known_addresses": plain(repository.addresses_of(db, user_id)),
    }


@dataclass(frozen=True)
class Person:
    """By which words a person is found in texts that stay, until they are erased everywhere."""

    names: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Names and addresses."""
        return self.names + self.emails


def is_erased(user_id: int) -> bool:
    """Whether there was such a user, who is erased here. Opens `itlc_users` itself."""
    with postgres.users.read() as db:
        return repository.was_user(db, user_id) and repository.user(db, user_id) is None


def erase(db: Connection, user_id: int) -> bool:
    """Erase a user here: from now on nobody can sign in as them, every session has ended, their tokens are the
    house's, and they have neither name nor address. Returns False when there never was such a user.

    What the job needs to find them elsewhere is kept until it is done. Repeating it changes nothing, except for
    answers that were kept in the meantime.
    """
    if not repository.was_user(db, user_id):
        return False
    keys.forget(db, f"user:{user_id}")
    repository.forget_registration(db, user_id)
    row = repository.user_for_change(db, user_id)
    if row is not None:
        _erase_living(db, row)
    person = _person(repository.erasure(db, user_id))
    repository.forget_mails(db, person.emails)
    repository.remove_tokens(db, user_id)
    return True


def _erase_living(db: Connection, row: Row[Any]) -> None:
    repository.begin_erasure(db, row.id, names=[row.name], emails=[row.email])
    ledger.forfeit(db, row.id)
    nobody = {"name": NAME_OF_NOBODY, "email": email_of_nobody(row.id), "password": ERASED, "is_admin": False}
    repository.erase_user(db, row.id, **nobody)
    repository.end_sessions(db, row.id, ERASED)
    audit.record(db, row.id, "erase_me", f"user:{row.id}", before={"erased": False}, after={"erased": True})


def erase_at_once(user_id: int) -> None:
    """Erase a user whose account was closed without waiting for the job. Opens `itlc_users` itself. Where that fails
    nothing is lost, for the job does it again; so it is logged and not raised."""
    try:
        postgres.users.write(lambda db: erase(db, user_id))
    except Exception:
        log.warning("the job will erase user %s", user_id, exc_info=True)


def person(user_id: int) -> Person:
    """By which words a person is found; none when they were erased everywhere. Opens `itlc_users` itself."""
    with postgres.users.read() as db:
        return _person(repository.erasure(db, user_id))


def also_known_as(user_id: int, *, name: str, email: str) -> None:
    """Keep another name and address of a person who is being erased, for the job. Opens `itlc_users` itself."""

    def note(db: Connection) -> None:
        known = repository.erasure_for_change(db, user_id)
        if known is not None:
            names, emails = sorted({*known.names, name}), sorted({*known.emails, email})
            repository.change_erasure(db, user_id, names=names, emails=emails)

    postgres.users.write(note)


def _person(row: Row[Any] | None) -> Person:
    return Person() if row is None else Person(tuple(row.names), tuple(row.emails))


def forget(user_id: int) -> None:
    """Forget by which words a person was found: they were erased everywhere. Opens `itlc_users` itself."""
    postgres.users.write(lambda db: repository.end_erasure(db, user_id))
