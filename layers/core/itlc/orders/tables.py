"""Orders, their check-ins, and how a project stands by its orders. Database `itlc_orders`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    func,
)

from itlc.stores.bookkeeping import TIMESTAMP, created_at
from itlc.stores.postgres import orders as database

STATUSES = ("created", "in_progress", "completed", "paying", "paid", "refunded", "cancelled")
CHECKINS = ("started", "in_progress", "blocked", "completed")

orders = Table(
    "orders",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, nullable=False),
    Column("service_id", Integer, nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
    Column("status", String(16), nullable=False, server_default="created"),
    created_at(),
    Column("project_id", String(24)),
    Column("bid_id", Integer, nullable=False, unique=True),
    Column("provider_id", Integer, nullable=False),
    Column("provider_user_id", Integer, nullable=False),
    Column("tokens_charged", Integer),
    Column("refunded_amount", Numeric(12, 2), nullable=False, server_default="0"),
    Column("refunded_tokens", Integer, nullable=False, server_default="0"),
    Column("cancel_reason", Text),
    Column("cancelled_by", Integer),
    Column("cancelled_at", TIMESTAMP),
    Column("completed_at", TIMESTAMP),
    Column("paid_at", TIMESTAMP),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    CheckConstraint(f"status IN {STATUSES}", name="orders_status"),
    CheckConstraint("amount > 0", name="orders_amount"),
    CheckConstraint(
        "refunded_tokens >= 0 AND refunded_tokens <= coalesce(tokens_charged, 0) "
        "AND refunded_amount >= 0 AND refunded_amount <= amount",
        name="orders_refund_within_payment",
    ),
    Index("orders_of_customer", "user_id", "created_at", "id"),
    Index("orders_of_seller", "provider_user_id", "created_at", "id"),
    Index("orders_of_project", "project_id", "created_at", "id"),
    Index("orders_bought", "user_id", "service_id"),
)

checkins = Table(
    "checkins",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Integer, ForeignKey("orders.id"), nullable=False),
    Column("status", String(16), nullable=False),
    created_at(),
    Column("note", Text),
    CheckConstraint(f"status IN {CHECKINS}", name="checkins_status"),
    Index("checkins_of_order", "order_id", "created_at", "id"),
)
Index("checkins_started_once", checkins.c.order_id, unique=True, postgresql_where=checkins.c.status == "started")
Index("checkins_completed_once", checkins.c.order_id, unique=True, postgresql_where=checkins.c.status == "completed")

# Whose account is being erased, or was: they get no new bids or orders (see `orders/closing.py`).
closed_accounts = Table(
    "closed_accounts",
    database.metadata,
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("closed_at", TIMESTAMP, nullable=False, server_default=func.now()),
)

# Which projects are being deleted, or just were: they get no new bids or orders (see `orders/closing.py`).
closed_projects = Table(
    "closed_projects",
    database.metadata,
    Column("project_id", String(24), primary_key=True),
    Column("closed_at", TIMESTAMP, primary_key=True),
)

# How a project stands, counted up in the transaction of each change of its orders; MongoDB follows by events.
project_progress = Table(
    "project_progress",
    database.metadata,
    Column("project_id", String(24), primary_key=True),
    Column("owner_id", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    CheckConstraint("status IN ('open', 'in_progress', 'completed', 'paid')", name="project_progress_status"),
    Index("project_progress_of_owner", "owner_id"),
)
