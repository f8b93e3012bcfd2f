"""Bids on services. Database `itlc_orders`."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Numeric, String, Table, Text, func

from itlc.orders import tables as orders  # the foreign key needs the table it points to
from itlc.stores.bookkeeping import TIMESTAMP, created_at
from itlc.stores.postgres import orders as database

STATUSES = ("open", "won", "rejected", "withdrawn", "expired")

bidding = Table(
    "bidding",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Integer, ForeignKey(orders.orders.c.id), unique=True),
    Column("bidder_id", Integer, nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
    created_at(),
    Column("service_id", Integer, nullable=False),
    Column("provider_id", Integer, nullable=False),
    Column("provider_user_id", Integer, nullable=False),
    Column("project_id", String(24)),
    Column("message", Text),
    Column("status", String(16), nullable=False, server_default="open"),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    CheckConstraint(f"status IN {STATUSES}", name="bidding_status"),
    CheckConstraint("amount > 0", name="bidding_amount"),
    CheckConstraint("(order_id IS NOT NULL) = (status = 'won')", name="bidding_won_has_order"),
    Index("bidding_of_service", "service_id", "created_at", "id"),
    Index("bidding_of_bidder", "bidder_id", "created_at", "id"),
    Index("bidding_of_seller", "provider_user_id", "created_at", "id"),
)
Index("bidding_open", bidding.c.created_at, postgresql_where=bidding.c.status == "open")
Index("bidding_open_of_service", bidding.c.service_id, postgresql_where=bidding.c.status == "open")
