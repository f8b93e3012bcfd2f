"""Users as they are: reading and changing oneself, who is an administrator, and what other domains ask.

What needs passwords or signs tokens is in `credentials`, `sessions` and `recovery`, so that the many operations that
only ask who somebody is do not carry it.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import IntegrityError

from itlc import audit
from itlc.access import Caller
from itlc.accounts import repository
from itlc.accounts.model import ADMIN_CHANGED
from itlc.accounts.schemas import ChangeMe, UserView
from itlc.errors import Conflict, NotFound, Unauthenticated
from itlc.preconditions import IfMatch
from itlc.stores import postgres
from itlc.stores.postgres import constraint


def read_me(db: Connection, caller: Caller) -> UserView:
    """The caller. Raises Unauthenticated when they were erased."""
    return UserView.model_validate(there(repository.user(db, caller.id)))


def change_me(db: Connection, request: ChangeMe, *, caller: Caller, if_match: IfMatch) -> UserView:
    """The caller after the change. With another e-mail address, password resets sent to the old one are void.

    Raises Conflict when the e-mail address is taken, PreconditionFailed, Unauthenticated when they were erased.
    """
    row = there(repository.user_for_change(db, caller.id))
    if_match.check(UserView.model_validate(row))
    changes = request.model_dump(exclude_unset=True)
    if not changes:
        return UserView.model_validate(row)
    try:
        changed = repository.change_user(db, caller.id, changes)
    except IntegrityError as error:
        raise taken(error) from error
    if changed.email != row.email:
        repository.void_resets(db, caller.id)
    return UserView.model_validate(changed)


def grant_admin(db: Connection, email: str) -> bool:
    """Make the user with this e-mail address an administrator; False when they are one. Raises NotFound."""
    return _set_admin(db, email, to=True)


def revoke_admin(db: Connection, email: str) -> bool:
    """Take an administrator's powers away and end their sessions; False when they are none. Raises NotFound."""
    return _set_admin(db, email, to=False)


def _set_admin(db: Connection, email: str, *, to: bool) -> bool:
    found = repository.user_by_email(db, email)
    row = found and repository.user_for_change(db, found.id)
    if row is None:
        raise NotFound(f"There is no user with the e-mail address {email}.")
    if row.is_admin == to:
        return False
    repository.change_user(db, row.id, {"is_admin": to})
    if not to:
        repository.end_sessions(db, row.id, ADMIN_CHANGED)
    action = "grant_admin" if to else "revoke_admin"
    audit.record(db, None, action, f"user:{row.id}", before={"is_admin": not to}, after={"is_admin": to})
    return True


@dataclass(frozen=True)
class Session:
    """A session that lives, and whether its user is an administrator at this moment."""

    id: uuid.UUID
    user_id: int
    is_admin: bool


def session_of(caller: Caller) -> Session | None:
    """The caller's session, or None when it has ended. Opens `itlc_users` itself."""
    if caller.session_id is None:
        return None
    with postgres.users.read() as db:
        row = repository.live_session(db, uuid.UUID(caller.session_id))
    return None if row is None or row.user_id != caller.user_id else Session(row.id, row.user_id, row.is_admin)


def email_of(user_id: int) -> str:
    """A user's e-mail address. Opens `itlc_users` itself. Raises Unauthenticated when they were erased: it is asked
    about callers."""
    with postgres.users.read() as db:
        return str(there(repository.user(db, user_id)).email)


def user_ids_by_email(emails: Iterable[str]) -> dict[str, int]:
    """The ids of those among `emails` who are users, by the address in lower case. Opens `itlc_users` itself."""
    wanted = {email.lower() for email in emails}
    if not wanted:
        return {}
    with postgres.users.read() as db:
        return repository.ids_by_email(db, wanted)


def user_exists(user_id: int) -> bool:
    """Whether there is such a user, not erased. Opens `itlc_users` itself."""
    with postgres.users.read() as db:
        return repository.user(db, user_id) is not None


def was_user(user_id: int) -> bool:
    """Whether there is such a user or was one. Opens `itlc_users` itself."""
    with postgres.users.read() as db:
        return repository.was_user(db, user_id)


def there(row: Row[Any] | None) -> Row[Any]:
    """The caller's row. Raises Unauthenticated when there is none: their account is gone, their token is not yet."""
    if row is None:
        raise Unauthenticated("This account no longer exists.")
    return row


def taken(error: IntegrityError) -> Conflict:
    """The Conflict of a taken e-mail address; any other error is raised again."""
    if constraint(error) == "users_email":
        return Conflict("Another user has this e-mail address.")
    raise error
