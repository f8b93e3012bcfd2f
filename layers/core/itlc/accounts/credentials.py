"""Registering, proving who one is, and changing one's password.

Hashing takes some 30 ms of computing, so it is done before the transaction, never within it; the transaction then
makes sure that the password which was checked is still the user's.
"""

import uuid
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from itlc.access import Caller
from itlc.accounts import passwords, repository, throttle
from itlc.accounts.model import PASSWORD_CHANGED
from itlc.accounts.schemas import ChangePassword, Register, SignIn, UserView
from itlc.accounts.service import taken, there
from itlc.errors import Invalid, Unauthenticated, invalid
from itlc.preconditions import IfMatch
from itlc.stores import postgres


def hash_for(request: Register) -> str:
    """The hash of a new user's password. Raises Invalid when the password is weak."""
    return passwords.hash_of_new(request.password, request.email, field="password")


def register(db: Connection, request: Register, *, password: str) -> UserView:
    """The new user, with the hash `password`. Raises Conflict when the e-mail address is taken."""
    try:
        row = repository.add_user(db, name=request.name, email=request.email, password=password)
    except IntegrityError as error:
        raise taken(error) from error
    return UserView.model_validate(row)


@dataclass(frozen=True)
class Proven:
    """A user who gave the right password: `kept` is the hash that it matched, `renewed` one to replace it, if any."""

    user_id: int
    kept: str = field(repr=False)
    renewed: str | None = field(repr=False)
    attempt: throttle.Attempt


def prove(request: SignIn, source: str) -> Proven:
    """The user who signs in from `source`, the pseudonym of an address. Opens `itlc_users` itself.

    Raises Unauthenticated, with the same words after the same work, for an unknown address and a wrong password; and
    TooMany, for both alike, after too many failures.
    """
    attempt = throttle.attempt(request.email, source)
    refusal = throttle.begin(attempt)
    if refusal is not None and not throttle.may_look(attempt):
        raise refusal  # without hashing: that is what a flood of attempts would have us do
    with postgres.users.read() as db:
        row = repository.user_by_email(db, request.email)
        let_in = refusal is None or throttle.is_let_in(db, row and row.id, attempt)
    right = passwords.matches(row and row.password, request.password)
    if row is None or not right or not let_in:
        raise refusal or Unauthenticated("The e-mail address or the password is wrong.")
    return Proven(row.id, row.password, passwords.renewed(row.password, request.password), attempt)


@dataclass(frozen=True)
class NewPassword:
    """A password's change that may take place as long as `kept` is the user's hash; `hash` takes its place."""

    kept: str = field(repr=False)
    hash: str = field(repr=False)


def prove_change(request: ChangePassword, caller: Caller) -> NewPassword:
    """The caller's change of password. Opens `itlc_users` itself.

    Raises Invalid when the present password is wrong or the new one weak, Unauthenticated when they were erased.
    """
    with postgres.users.read() as db:
        row = there(repository.user(db, caller.id))
    if not passwords.matches(row.password, request.current_password):
        raise _wrong()
    return NewPassword(row.password, passwords.hash_of_new(request.new_password, row.email, field="new_password"))


def change_password(db: Connection, change: NewPassword, *, caller: Caller, if_match: IfMatch) -> None:
    """Set the caller's new password; every other session ends, every password reset is void.

    Raises Invalid when the password was changed meanwhile, Unauthenticated when this very session was ended, and
    PreconditionFailed: a password has no version of its own, it goes by the user's.
    """
    row = there(repository.user_for_change(db, caller.id))
    if_match.check(UserView.model_validate(row))
    if row.password != change.kept:
        raise _wrong()
    session_id = uuid.UUID(caller.session_id)
    if repository.live_session(db, session_id) is None:
        raise Unauthenticated("This session has ended: sign in again.")
    repository.change_user(db, caller.id, {"password": change.hash})
    repository.end_sessions(db, caller.id, PASSWORD_CHANGED, but=session_id)
    repository.void_resets(db, caller.id)


def _wrong() -> Invalid:
    return invalid("current_password", "is not your password")
