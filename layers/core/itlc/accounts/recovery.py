"""A new password for whoever has lost theirs: a token by e-mail, good for one use.

Asking does the same for every address: it writes an event, and looks nobody up. The token is made only by the job
that mails it, which stores its hash: it stands in no outbox, no queue and no log, only in the mail.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from itlc import events
from itlc.accounts import failures, passwords, repository
from itlc.accounts.mails import Mail, reset_mail
from itlc.accounts.model import MOST_OPEN_RESETS, PASSWORD_CHANGED
from itlc.accounts.schemas import RequestPasswordReset, ResetPassword
from itlc.accounts.tokens import hash_of, new_secret
from itlc.errors import NotFound, Poison
from itlc.limits import HOUR, Window
from itlc.pseudonyms import of_account
from itlc.settings import settings
from itlc.stores import inbox, outbox, postgres, request_counts

TYPE = "password_reset"


def request_reset(db: Connection, request: RequestPasswordReset, *, source: str) -> None:
    """Have a reset token mailed to the address, should it be a user's. Where too many were asked for in this hour, for
    the same address or from the same `source` (see `itlc.pseudonyms`), nothing is mailed, and nobody is told so."""
    asked = {
        f"reset {of_account(request.email)}": settings().account_reset_mails,
        f"reset {source}": settings().address_reset_mails,
    }
    hour = Window.now(HOUR)
    over = [request_counts.count(db, subject, hour) > most for subject, most in asked.items()]
    if any(over):
        return
    outbox.emit(db, events.event("emails", TYPE, "password_reset", {"email": request.email}))


def address_in(event: events.Event) -> str:
    """The e-mail address that a reset was asked for. Raises Poison for what is no such event."""
    if event.type != TYPE:
        raise Poison(f"the queue emails knows no type {event.type!r}")
    email = event.payload.get("email")
    if not isinstance(email, str) or set(event.payload) != {"email"}:
        raise Poison("the payload of a password_reset is one e-mail address")
    return email


def prepare_mail(db: Connection, consumer: str, event: events.Event) -> Mail | None:
    """The mail with a new reset token, whose hash is stored; None when there is nobody to send it to, or it was sent
    before, or the event's token was used or made void, or as many tokens of other events are open as may be at once.

    The event has one reset, whose token each attempt replaces: however often SES was away, no attempt takes the room of
    the next."""
    user = repository.user_by_email(db, address_in(event))
    if user is None or inbox.applied(db, consumer, event):
        return None
    if repository.open_resets(db, user.id, besides=event.id) >= MOST_OPEN_RESETS:
        return None
    token = new_secret()
    lasting = timedelta(minutes=settings().reset_minutes)
    if not repository.put_reset(db, user.id, event.id, hash_of(token), lasting):
        return None
    return reset_mail(user.email, user.name, token)


@dataclass(frozen=True)
class PreparedReset:
    """A reset by a token that was good when it was looked up, and the hash of the password to set."""

    token_hash: str = field(repr=False)
    password: str = field(repr=False)


def prove_token(token: str, request: ResetPassword) -> PreparedReset:
    """The reset that the token allows. Opens `itlc_users` itself.

    Raises NotFound when the token is unknown, used or over, Invalid when the password is weak.
    """
    with postgres.users.read() as db:
        row = repository.reset(db, hash_of(token))
    if row is None:
        raise _no_such_reset()
    return PreparedReset(row.hash, passwords.hash_of_new(request.new_password, row.email, field="new_password"))


def reset_password(db: Connection, prepared: PreparedReset, *, source: str) -> None:
    """Set the new password; every session ends, every other reset token is void. Whoever reads the user's mail at
    `source` (see `itlc.pseudonyms`) may sign in from there, whatever others have guessed. Raises NotFound when another
    request has used the token first."""
    user_id = repository.use_reset(db, prepared.token_hash)
    if user_id is None or repository.user_for_change(db, user_id) is None:
        raise _no_such_reset()
    repository.change_user(db, user_id, {"password": prepared.password})
    repository.end_sessions(db, user_id, PASSWORD_CHANGED)
    repository.void_resets(db, user_id)
    failures.know_address(db, user_id, source)


def _no_such_reset() -> NotFound:
    return NotFound("This token is unknown, was used, or is over: ask for a new one with POST /password-resets.")
