"""The accounts' queries."""

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, cast, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from itlc.access import Caller
from itlc.accounts.tables import erasures, known_addresses, password_resets, refresh_tokens, sessions, users

ALIVE = users.c.erased_at.is_(None)


def add_user(db: Connection, *, name: str, email: str, password: str) -> Row[Any]:
    """The new user; `password` is a hash. Raises IntegrityError (`users_email`)."""
    return db.execute(insert(users).values(name=name, email=email, password=password).returning(users)).one()


def user(db: Connection, user_id: int) -> Row[Any] | None:
    """One user who is not erased, or None."""
    return db.execute(select(users).where(users.c.id == user_id, ALIVE)).one_or_none()


def user_by_email(db: Connection, email: str) -> Row[Any] | None:
    """The user with this e-mail address, in whatever case, or None."""
    return db.execute(select(users).where(func.lower(users.c.email) == func.lower(email), ALIVE)).one_or_none()


def user_for_change(db: Connection, user_id: int) -> Row[Any] | None:
    """One user who is not erased, locked until the transaction ends, or None."""
    found = select(users).where(users.c.id == user_id, ALIVE)
    return db.execute(found.with_for_update(key_share=True)).one_or_none()


def was_user(db: Connection, user_id: int) -> bool:
    """Whether there is or was such a user."""
    return db.execute(select(users.c.id).where(users.c.id == user_id)).one_or_none() is not None


def ids_by_email(db: Connection, emails: Collection[str]) -> dict[str, int]:
    """The ids of the users among these e-mail addresses, by the address in lower case."""
    wanted = [func.lower(email) for email in emails]
    rows = db.execute(select(users.c.id, users.c.email).where(func.lower(users.c.email).in_(wanted), ALIVE))
    return {row.email.lower(): row.id for row in rows}


def change_user(db: Connection, user_id: int, changes: dict[str, Any]) -> Row[Any]:
    """The user as they are after the change. Raises IntegrityError (`users_email`)."""
    change = update(users).where(users.c.id == user_id).values(**changes, updated_at=func.now())
    return db.execute(change.returning(users)).one()


def keep_hash(db: Connection, user_id: int, password: str) -> None:
    """Replace the hash of a password that stays the same: nothing that anybody sees changes."""
    db.execute(update(users).where(users.c.id == user_id).values(password=password))


def add_session(db: Connection, session_id: uuid.UUID, user_id: int, lasting: timedelta) -> None:
    """A new session."""
    db.execute(insert(sessions).values(id=session_id, user_id=user_id, expires_at=func.now() + lasting))


def live_session(db: Connection, session_id: uuid.UUID) -> Row[Any] | None:
    """A session that has not ended, with its user's `is_admin`, or None."""
    found = (
        select(sessions, users.c.is_admin)
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.id == session_id, sessions.c.ended_at.is_(None), sessions.c.expires_at > func.now(), ALIVE)
    )
    return db.execute(found).one_or_none()


def prolong_session(db: Connection, session_id: uuid.UUID, lasting: timedelta) -> None:
    """Let a session live for so long from now on."""
    db.execute(update(sessions).where(sessions.c.id == session_id).values(expires_at=func.now() + lasting))


def end_session(db: Connection, session_id: uuid.UUID, reason: str) -> None:
    """End a session; one that has ended keeps its first reason."""
    this = (sessions.c.id == session_id, sessions.c.ended_at.is_(None))
    db.execute(update(sessions).where(*this).values(ended_at=func.now(), end_reason=reason))


def end_sessions(db: Connection, user_id: int, reason: str, *, but: uuid.UUID | None = None) -> int:
    """End all sessions of a user, except for one; returns how many."""
    theirs = [sessions.c.user_id == user_id, sessions.c.ended_at.is_(None)]
    if but is not None:
        theirs.append(sessions.c.id != but)
    return db.execute(update(sessions).where(*theirs).values(ended_at=func.now(), end_reason=reason)).rowcount


def add_refresh_token(db: Connection, session_id: uuid.UUID, hash: str) -> None:
    """A refresh token that is good for one refresh of the session."""
    db.execute(insert(refresh_tokens).values(hash=hash, session_id=session_id))


def refresh_token_for_spending(db: Connection, hash: str) -> Row[Any] | None:
    """A refresh token with its session's `user_id`, its user's `is_admin`, and whether the session is `live`; token
    and session are locked until the transaction ends. None when there is none."""
    live = and_(sessions.c.ended_at.is_(None), sessions.c.expires_at > func.now(), ALIVE)
    found = (
        select(refresh_tokens, sessions.c.user_id, users.c.is_admin, live.label("live"))
        .join(sessions, sessions.c.id == refresh_tokens.c.session_id)
        .join(users, users.c.id == sessions.c.user_id)
        .where(refresh_tokens.c.hash == hash)
        .with_for_update(of=[refresh_tokens, sessions])
    )
    return db.execute(found).one_or_none()


def spend_refresh_token(db: Connection, hash: str) -> None:
    """Note that a refresh token was spent."""
    db.execute(update(refresh_tokens).where(refresh_tokens.c.hash == hash).values(spent_at=func.now()))


def put_reset(db: Connection, user_id: int, event_id: str, hash: str, lasting: timedelta) -> bool:
    """A password reset that may be used for so long, in the place of the event's earlier one. False where that one
    was used, or made void: then there is no other."""
    row = {"hash": hash, "expires_at": func.now() + lasting}
    put = upsert(password_resets).values(**row, user_id=user_id, event_id=uuid.UUID(event_id))
    unused = password_resets.c.used_at.is_(None)
    put = put.on_conflict_do_update(index_elements=["event_id"], set_=row, where=unused)
    return db.execute(put).rowcount == 1


def open_resets(db: Connection, user_id: int, *, besides: str) -> int:
    """How many password resets of a user may still be used, that of the event `besides` left out."""
    others = (password_resets.c.user_id == user_id, password_resets.c.event_id != uuid.UUID(besides))
    theirs = select(func.count()).select_from(password_resets).where(*others, *_USABLE)
    return int(db.execute(theirs).scalar_one())


def reset(db: Connection, hash: str) -> Row[Any] | None:
    """A password reset that may still be used, with its user's `email`, or None."""
    found = select(password_resets, users.c.email).join(users, users.c.id == password_resets.c.user_id)
    return db.execute(found.where(password_resets.c.hash == hash, *_USABLE, ALIVE)).one_or_none()


def use_reset(db: Connection, hash: str) -> int | None:
    """Note that a password reset was used; returns its user's id, or None when it may no longer be used."""
    use = update(password_resets).where(password_resets.c.hash == hash, *_USABLE).values(used_at=func.now())
    return db.execute(use.returning(password_resets.c.user_id)).scalar_one_or_none()


def void_resets(db: Connection, user_id: int) -> None:
    """Make every password reset of a user useless."""
    theirs = (password_resets.c.user_id == user_id, password_resets.c.used_at.is_(None))
    db.execute(update(password_resets).where(*theirs).values(used_at=func.now()))


_USABLE = (password_resets.c.used_at.is_(None), password_resets.c.expires_at > func.now())


# A person's data


def sessions_of(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All sessions of a user that are still known, oldest first."""
    return db.execute(select(sessions).where(sessions.c.user_id == user_id).order_by(sessions.c.created_at)).all()


def refreshes_of(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """When each refresh token of a user was made and spent, and of which session it is; not its hash."""
    fields = select(refresh_tokens.c.session_id, refresh_tokens.c.created_at, refresh_tokens.c.spent_at)
    joined = fields.join(sessions, sessions.c.id == refresh_tokens.c.session_id)
    rows: Sequence[Any] = db.execute(
        joined.where(sessions.c.user_id == user_id).order_by(refresh_tokens.c.created_at)
    ).all()
    return rows


def resets_of(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """When each password reset of a user was asked for, ends and was used; not its hash."""
    fields = select(password_resets.c.created_at, password_resets.c.expires_at, password_resets.c.used_at)
    rows: Sequence[Any] = db.execute(
        fields.where(password_resets.c.user_id == user_id).order_by(password_resets.c.created_at)
    ).all()
    return rows


def addresses_of(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """From where a user has signed in (pseudonyms), and when last."""
    fields = select(known_addresses.c.address, known_addresses.c.last_seen_at)
    rows: Sequence[Any] = db.execute(fields.where(known_addresses.c.user_id == user_id)).all()
    return rows


def erase_user(db: Connection, user_id: int, **instead: Any) -> None:
    """Mark a user as erased, with these values in the place of their own."""
    gone = update(users).where(users.c.id == user_id)
    db.execute(gone.values(**instead, erased_at=func.now(), updated_at=func.now()))


def remove_tokens(db: Connection, user_id: int) -> None:
    """Delete every refresh token and password reset of a user, and from where they signed in."""
    theirs = select(sessions.c.id).where(sessions.c.user_id == user_id)
    db.execute(delete(refresh_tokens).where(refresh_tokens.c.session_id.in_(theirs)))
    db.execute(delete(password_resets).where(password_resets.c.user_id == user_id))
    db.execute(delete(known_addresses).where(known_addresses.c.user_id == user_id))


def forget_registration(db: Connection, user_id: int) -> None:
    """Remove the answer to the request that registered a user. Its key is one of everybody's, for nobody had signed
    in."""
    keys = db.info["database"].idempotency_keys
    everybodys = (keys.c.caller == Caller().name, keys.c.operation == "register_user")
    user = case((and_(*everybodys, keys.c.status == 201), cast(keys.c.body, JSONB)))
    db.execute(delete(keys).where(*everybodys, user["id"].as_integer() == user_id))


def forget_mails(db: Connection, emails: Collection[str]) -> None:
    """Remove what was sent to the queue of mails for these addresses, and the fingerprints of it."""
    outbox, inbox = db.info["database"].outbox, db.info["database"].inbox
    address = func.lower(outbox.c.payload["email"].astext)
    sent = outbox.c.published_at.is_not(None)
    wanted = [func.lower(email) for email in emails]
    gone = delete(outbox).where(outbox.c.queue == "emails", sent, address.in_(wanted)).returning(outbox.c.id).cte()
    db.execute(update(inbox).where(inbox.c.message_id.in_(select(gone.c.id))).values(fingerprint=None))


def begin_erasure(db: Connection, user_id: int, *, names: list[str], emails: list[str]) -> None:
    """Keep what the job needs to find a person in the other stores."""
    db.execute(insert(erasures).values(user_id=user_id, names=names, emails=emails))


def erasure(db: Connection, user_id: int) -> Row[Any] | None:
    """What the job needs, or None once it is done everywhere."""
    return db.execute(select(erasures).where(erasures.c.user_id == user_id)).one_or_none()


def erasure_for_change(db: Connection, user_id: int) -> Row[Any] | None:
    """The same, locked until the transaction ends."""
    return db.execute(select(erasures).where(erasures.c.user_id == user_id).with_for_update()).one_or_none()


def change_erasure(db: Connection, user_id: int, *, names: list[str], emails: list[str]) -> None:
    """Keep these instead."""
    db.execute(update(erasures).where(erasures.c.user_id == user_id).values(names=names, emails=emails))


def end_erasure(db: Connection, user_id: int) -> None:
    """Forget it: the person was erased everywhere."""
    db.execute(delete(erasures).where(erasures.c.user_id == user_id))
