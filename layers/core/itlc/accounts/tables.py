"""Who has an account: users, their sessions and the tokens that keep them alive, failed sign-ins. Database
`itlc_users`."""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB

from itlc.stores.bookkeeping import TIMESTAMP, created_at
from itlc.stores.postgres import users as database

users = Table(
    "users",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("email", String(254), nullable=False),
    Column("password", String(255), nullable=False),
    Column("tokens", Integer, nullable=False, server_default="0"),
    created_at(),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    Column("is_admin", Boolean, nullable=False, server_default="false"),
    Column("erased_at", TIMESTAMP),
    CheckConstraint("tokens >= 0", name="users_tokens_not_negative"),
)
Index("users_email", func.lower(users.c.email), unique=True)

sessions = Table(
    "sessions",
    database.metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    created_at(),
    Column("expires_at", TIMESTAMP, nullable=False),
    Column("ended_at", TIMESTAMP),
    Column("end_reason", String(32)),
    CheckConstraint(
        "end_reason IN ('signed_out', 'password_changed', 'token_reused', 'erased', 'admin_changed')",
        name="sessions_end_reason",
    ),
    Index("sessions_user", "user_id", "ended_at"),
    Index("sessions_expiry", "expires_at"),
)
Index("sessions_ended", sessions.c.ended_at, postgresql_where=sessions.c.ended_at.is_not(None))

refresh_tokens = Table(
    "refresh_tokens",
    database.metadata,
    Column("hash", String(64), primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    created_at(),
    Column("spent_at", TIMESTAMP),
    Index("refresh_tokens_session", "session_id"),
)
Index("refresh_tokens_spent", refresh_tokens.c.spent_at, postgresql_where=refresh_tokens.c.spent_at.is_not(None))

password_resets = Table(
    "password_resets",
    database.metadata,
    Column("hash", String(64), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    created_at(),
    Column("expires_at", TIMESTAMP, nullable=False),
    Column("used_at", TIMESTAMP),
    Column("event_id", Uuid, nullable=False),
    Index("password_resets_user", "user_id"),
    Index("password_resets_expiry", "expires_at"),
    Index("password_resets_event", "event_id", unique=True),
)
Index("password_resets_used", password_resets.c.used_at, postgresql_where=password_resets.c.used_at.is_not(None))

# What the job that erases somebody still has to know of them, until it is done everywhere.
erasures = Table(
    "erasures",
    database.metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("names", JSONB, nullable=False),
    Column("emails", JSONB, nullable=False),
    Column("begun_at", TIMESTAMP, nullable=False, server_default=func.now()),
)

# Unlogged: a sign-in that fails waits for no disk, and a crash of the server forgives everybody.
sign_in_failures = Table(
    "sign_in_failures",
    database.metadata,
    Column("subject", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_at", TIMESTAMP, nullable=False, server_default=func.now()),
    Column("blocked_until", TIMESTAMP),
    CheckConstraint("kind IN ('pair', 'account', 'address')", name="sign_in_failures_kind"),
    Index("sign_in_failures_age", "last_at"),
    prefixes=["UNLOGGED"],
)

known_addresses = Table(
    "known_addresses",
    database.metadata,
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("address", String(64), primary_key=True),
    Column("last_seen_at", TIMESTAMP, nullable=False, server_default=func.now()),
    Index("known_addresses_address", "address", "last_seen_at"),
    Index("known_addresses_age", "last_seen_at"),
)
