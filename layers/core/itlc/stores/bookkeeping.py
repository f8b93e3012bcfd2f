"""The tables that every PostgreSQL database has beside its own: outbox, inbox, idempotency keys, counts, audit.

They make the promise of `docs/architecture.md`: what must happen elsewhere is written down in the same
transaction as its cause, what came in is done once, and a repeated request gets its first answer.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

TIMESTAMP = DateTime(timezone=True)
NOTICES = "notifications"
"""The queue of what people are told."""


def created_at() -> Column[object]:
    """The column that every table has: when the row came to be, by the database's clock."""
    return Column("created_at", TIMESTAMP, nullable=False, server_default=func.now())


def outbox(metadata: MetaData) -> Table:
    """Events still to be sent: `claimed_until` keeps two senders apart, `published_at` says that it was sent."""
    table = Table(
        "outbox",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("queue", String(64), nullable=False),
        Column("type", String(64), nullable=False),
        Column("aggregate", String(128), nullable=False),
        Column("aggregate_version", BigInteger),
        Column("payload", JSONB, nullable=False),
        Column("request_id", String(64)),
        created_at(),
        Column("claimed_until", TIMESTAMP, nullable=False, server_default=func.now()),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("published_at", TIMESTAMP),
    )
    Index("outbox_waiting", table.c.claimed_until, postgresql_where=table.c.published_at.is_(None))
    Index("outbox_published", table.c.published_at, postgresql_where=table.c.published_at.is_not(None))
    Index(
        "outbox_notices",
        table.c.payload,
        postgresql_using="gin",
        postgresql_ops={"payload": "jsonb_path_ops"},
        postgresql_where=table.c.queue == NOTICES,
    )
    return table


def inbox(metadata: MetaData) -> Table:
    """Messages already applied to this database, by consumer, written in the transaction of their effect, with a
    `fingerprint` of what they said (see `itlc.stores.inbox`)."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", String(64), nullable=False),
        Column("message_id", Uuid, nullable=False),
        Column("received_at", TIMESTAMP, nullable=False, server_default=func.now()),
        Column("fingerprint", LargeBinary),
        PrimaryKeyConstraint("consumer", "message_id"),
        Index("inbox_received", "received_at"),
    )


def idempotency_keys(metadata: MetaData) -> Table:
    """First answers by key. `status` is null while the first request is still running (a payment's can be)."""
    return Table(
        "idempotency_keys",
        metadata,
        Column("caller", String(64), nullable=False),
        Column("operation", String(64), nullable=False),
        Column("key", String(255), nullable=False),
        Column("fingerprint", String(64), nullable=False),
        Column("status", SmallInteger),
        Column("headers", JSONB),
        Column("body", Text),
        created_at(),
        Column("expires_at", TIMESTAMP, nullable=False),
        PrimaryKeyConstraint("caller", "operation", "key"),
        Index("idempotency_keys_expiry", "expires_at"),
    )


def request_counts(metadata: MetaData) -> Table:
    """How many requests a subject has made in a window of time (see `itlc.limits`). Unlogged: counting waits for no
    disk, and a crash of the server lets everybody begin at nought."""
    return Table(
        "request_counts",
        metadata,
        Column("subject", String(96), nullable=False),
        Column("window_end", TIMESTAMP, nullable=False),
        Column("count", Integer, nullable=False),
        PrimaryKeyConstraint("subject", "window_end"),
        Index("request_counts_window", "window_end"),
        prefixes=["UNLOGGED"],
    )


def audit(metadata: MetaData) -> Table:
    """Who did what to which object, before and after: append-only, in the transaction of the act itself."""
    return Table(
        "audit",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("actor_id", Integer),
        Column("action", String(64), nullable=False),
        Column("object", String(128), nullable=False),
        Column("before", JSONB),
        Column("after", JSONB),
        Column("request_id", String(64)),
        created_at(),
        Index("audit_by_object", "object", "created_at", "id"),
        Index("audit_by_actor", "actor_id", "created_at", "id"),
        Index("audit_by_time", "created_at", "id"),
    )
