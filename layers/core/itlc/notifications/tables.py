"""What users were told. Database `itlc_orders`."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text, Uuid

from itlc.stores.bookkeeping import created_at
from itlc.stores.postgres import orders as database

notifications = Table(
    "notifications",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("read_status", Boolean, nullable=False, server_default="false"),
    created_at(),
    Column("about", String(128), nullable=False),
    Column("event_id", Uuid, nullable=False),
    Index("notifications_of_user", "user_id", "created_at", "id"),
    Index("notifications_once", "event_id", "user_id", unique=True),
)
Index(
    "notifications_unread",
    notifications.c.user_id,
    notifications.c.created_at,
    notifications.c.id,
    postgresql_where=notifications.c.read_status.is_(False),
)
Index("notifications_old", notifications.c.created_at, postgresql_where=notifications.c.read_status)
