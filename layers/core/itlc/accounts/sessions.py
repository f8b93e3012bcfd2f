"""Sessions: begun by a password, kept alive by refresh tokens that can each be spent once, ended for a reason."""

import uuid
from datetime import timedelta

from sqlalchemy import Connection

from itlc.access import Caller
from itlc.accounts import repository, throttle
from itlc.accounts.credentials import Proven
from itlc.accounts.model import SIGNED_OUT, TOKEN_REUSED
from itlc.accounts.schemas import TokenPair
from itlc.accounts.tokens import hash_of, new_secret, write_access_token
from itlc.errors import Unauthenticated
from itlc.settings import settings


def begin(db: Connection, proven: Proven) -> TokenPair:
    """A new session's tokens, for a user who gave the right password.

    Raises Unauthenticated when the password was changed since it was checked.
    """
    row = repository.user_for_change(db, proven.user_id)
    if row is None or row.password != proven.kept:
        raise Unauthenticated("The e-mail address or the password is wrong.")
    if proven.renewed is not None:
        repository.keep_hash(db, row.id, proven.renewed)
    throttle.succeed(db, row.id, proven.attempt)
    session_id = uuid.uuid4()
    repository.add_session(db, session_id, row.id, _lasting())
    return _pair(db, row.id, session_id, is_admin=row.is_admin)


def refresh(db: Connection, refresh_token: str) -> TokenPair | None:
    """The next pair of tokens of the session, in exchange for the refresh token, which is spent by this.

    None when the token was spent before: either it or its successor is in the wrong hands, so the session has been
    ended, and that has to be committed. Two uses at the same time are such a reuse, too. Raises Unauthenticated for a
    token that is unknown or whose session has ended.
    """
    row = repository.refresh_token_for_spending(db, hash_of(refresh_token))
    if row is None or not row.live:
        raise Unauthenticated("This refresh token is not valid: sign in again.")
    if row.spent_at is not None:
        repository.end_session(db, row.session_id, TOKEN_REUSED)
        return None
    repository.spend_refresh_token(db, row.hash)
    repository.prolong_session(db, row.session_id, _lasting())
    return _pair(db, row.user_id, row.session_id, is_admin=row.is_admin)


def not_reused(pair: TokenPair | None) -> TokenPair:
    """The pair. Raises Unauthenticated when there is none, for the refresh token was spent before."""
    if pair is None:
        raise Unauthenticated("This refresh token was used before, so its session has been ended: sign in again.")
    return pair


def end(db: Connection, caller: Caller) -> None:
    """End the caller's session. One that has ended stays so."""
    repository.end_session(db, uuid.UUID(caller.session_id), SIGNED_OUT)


def _pair(db: Connection, user_id: int, session_id: uuid.UUID, *, is_admin: bool) -> TokenPair:
    refresh_token = new_secret()
    repository.add_refresh_token(db, session_id, hash_of(refresh_token))
    return TokenPair(
        access_token=write_access_token(user_id, session_id, is_admin=is_admin),
        refresh_token=refresh_token,
        expires_in=settings().access_token_seconds,
    )


def _lasting() -> timedelta:
    return timedelta(days=settings().refresh_token_days)
