"""Sessions, refresh tokens, password resets and failed sign-ins that are over: what removes them, a bounded batch at
a time."""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import ARRAY, Connection, Uuid, any_, cast, delete, exists, func, or_, select, tuple_

from itlc.accounts.tables import known_addresses, password_resets, refresh_tokens, sessions, sign_in_failures
from itlc.settings import settings

# Kept for a day after their end, for whoever has to look into it.
KEPT = timedelta(days=1)


def purge_sessions(db: Connection, limit: int) -> int:
    """Of up to `limit` sessions that ended or ran out over a day ago, remove up to `limit` refresh tokens, then the
    sessions that have none left: however many tokens a session has had, none goes with it. Returns how many of both."""
    over = func.now() - KEPT
    old = select(sessions.c.id).where(or_(sessions.c.ended_at < over, sessions.c.expires_at < over)).limit(limit)
    these = any_(cast(list(db.execute(old).scalars()), ARRAY(Uuid)))
    tokens = select(refresh_tokens.c.hash).where(refresh_tokens.c.session_id == these).limit(limit)
    spent = db.execute(delete(refresh_tokens).where(refresh_tokens.c.hash.in_(tokens))).rowcount
    empty = ~exists().where(refresh_tokens.c.session_id == sessions.c.id)
    return spent + db.execute(delete(sessions).where(sessions.c.id == these, empty)).rowcount


def purge_refresh_tokens(db: Connection, limit: int) -> int:
    """Remove up to `limit` tokens spent longer ago than a session lives unrefreshed; returns how many."""
    over = func.now() - timedelta(days=settings().refresh_token_days)
    old = select(refresh_tokens.c.hash).where(refresh_tokens.c.spent_at < over).limit(limit)
    return db.execute(delete(refresh_tokens).where(refresh_tokens.c.hash.in_(old))).rowcount


def purge_resets(db: Connection, limit: int) -> int:
    """Remove up to `limit` password resets that were used or ran out over a day ago; returns how many."""
    over = func.now() - KEPT
    old = (
        select(password_resets.c.hash)
        .where(or_(password_resets.c.used_at < over, password_resets.c.expires_at < over))
        .limit(limit)
    )
    return db.execute(delete(password_resets).where(password_resets.c.hash.in_(old))).rowcount


def purge_failures(db: Connection, limit: int) -> int:
    """Remove up to `limit` counts of failed sign-ins that are forgotten; returns how many."""
    over = func.now() - timedelta(minutes=settings().failure_memory_minutes)
    old = select(sign_in_failures.c.subject).where(sign_in_failures.c.last_at < over).limit(limit)
    chosen = old.with_for_update(skip_locked=True).cte()
    return db.execute(delete(sign_in_failures).where(sign_in_failures.c.subject == chosen.c.subject)).rowcount


def purge_addresses(db: Connection, limit: int) -> int:
    """Remove up to `limit` addresses from which their users have not signed in for long; returns how many."""
    over = func.now() - timedelta(days=settings().known_address_days)
    row = tuple_(known_addresses.c.user_id, known_addresses.c.address)
    old = select(known_addresses.c.user_id, known_addresses.c.address).where(known_addresses.c.last_seen_at < over)
    return db.execute(delete(known_addresses).where(row.in_(old.limit(limit)))).rowcount


PURGES: tuple[Callable[[Connection, int], int], ...] = (
    purge_sessions,
    purge_refresh_tokens,
    purge_resets,
    purge_failures,
    purge_addresses,
)
