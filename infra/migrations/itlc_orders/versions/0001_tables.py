"""The tables of itlc_orders, and what the application may do with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from infra.migrations.grants import grant

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=128), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_by_actor", "audit", ["actor_id", "created_at", "id"], unique=False)
    op.create_index("audit_by_object", "audit", ["object", "created_at", "id"], unique=False)
    op.create_index("audit_by_time", "audit", ["created_at", "id"], unique=False)
    op.create_table(
        "closed_accounts",
        sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "closed_projects",
        sa.Column("project_id", sa.String(length=24), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", "operation", "key"),
    )
    op.create_index("idempotency_keys_expiry", "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "message_id"),
    )
    op.create_index("inbox_received", "inbox", ["received_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("read_status", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("about", sa.String(length=128), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("notifications_of_user", "notifications", ["user_id", "created_at", "id"], unique=False)
    op.create_index("notifications_old", "notifications", ["created_at"], unique=False, postgresql_where="read_status")
    op.create_index("notifications_once", "notifications", ["event_id", "user_id"], unique=True)
    op.create_index(
        "notifications_unread",
        "notifications",
        ["user_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("read_status IS false"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("service_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("status", sa.String(length=16), server_default="created", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("project_id", sa.String(length=24), nullable=True),
        sa.Column("bid_id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("provider_user_id", sa.Integer(), nullable=False),
        sa.Column("tokens_charged", sa.Integer(), nullable=True),
        sa.Column("refunded_amount", sa.Numeric(precision=12, scale=2), server_default="0", nullable=False),
        sa.Column("refunded_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("cancelled_by", sa.Integer(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('created', 'in_progress', 'completed', 'paying', 'paid', 'refunded', 'cancelled')",
            name="orders_status",
        ),
        sa.CheckConstraint("amount > 0", name="orders_amount"),
        sa.CheckConstraint(
            "refunded_tokens >= 0 AND refunded_tokens <= coalesce(tokens_charged, 0) "
            "AND refunded_amount >= 0 AND refunded_amount <= amount",
            name="orders_refund_within_payment",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bid_id"),
    )
    op.create_index("orders_bought", "orders", ["user_id", "service_id"], unique=False)
    op.create_index("orders_of_customer", "orders", ["user_id", "created_at", "id"], unique=False)
    op.create_index("orders_of_project", "orders", ["project_id", "created_at", "id"], unique=False)
    op.create_index("orders_of_seller", "orders", ["provider_user_id", "created_at", "id"], unique=False)
    op.create_table(
        "request_counts",
        sa.Column("subject", sa.String(length=96), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "window_end"),
        prefixes=["UNLOGGED"],
    )
    op.create_index("request_counts_window", "request_counts", ["window_end"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("aggregate", sa.String(length=128), nullable=False),
        sa.Column("aggregate_version", sa.BigInteger(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "outbox_published",
        "outbox",
        ["published_at"],
        unique=False,
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "outbox_waiting", "outbox", ["claimed_until"], unique=False, postgresql_where=sa.text("published_at IS NULL")
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=24), nullable=True),
        sa.Column("customer_id", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("rate", sa.Numeric(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("balance", sa.Integer(), nullable=True),
        sa.Column("key_caller", sa.String(length=64), nullable=False),
        sa.Column("key_operation", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("key_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('paying', 'settled', 'declined')", name="payments_status"),
        sa.CheckConstraint("tokens >= 0", name="payments_tokens"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("payments_customer", "payments", ["customer_id", "created_at"], unique=False)
    op.create_index(
        "payments_open", "payments", ["created_at"], unique=False, postgresql_where=sa.text("status = 'paying'")
    )
    op.create_index("payments_project", "payments", ["project_id"], unique=False)
    op.create_table(
        "project_progress",
        sa.Column("project_id", sa.String(length=24), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('open', 'in_progress', 'completed', 'paid')", name="project_progress_status"),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_table(
        "bidding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=True),
        sa.Column("bidder_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("service_id", sa.Integer(), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("provider_user_id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(length=24), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=16), server_default="open", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(order_id IS NOT NULL) = (status = 'won')", name="bidding_won_has_order"),
        sa.CheckConstraint("status IN ('open', 'won', 'rejected', 'withdrawn', 'expired')", name="bidding_status"),
        sa.CheckConstraint("amount > 0", name="bidding_amount"),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("order_id"),
    )
    op.create_index("bidding_of_bidder", "bidding", ["bidder_id", "created_at", "id"], unique=False)
    op.create_index("bidding_of_service", "bidding", ["service_id", "created_at", "id"], unique=False)
    op.create_index(
        "bidding_open", "bidding", ["created_at"], unique=False, postgresql_where=sa.text("status = 'open'")
    )
    op.create_index(
        "bidding_open_of_service", "bidding", ["service_id"], unique=False, postgresql_where=sa.text("status = 'open'")
    )
    op.create_table(
        "checkins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('started', 'in_progress', 'blocked', 'completed')", name="checkins_status"),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "checkins_completed_once",
        "checkins",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("status = 'completed'"),
    )
    op.create_index("checkins_of_order", "checkins", ["order_id", "created_at", "id"], unique=False)
    op.create_index(
        "checkins_started_once", "checkins", ["order_id"], unique=True, postgresql_where=sa.text("status = 'started'")
    )
    op.create_table(
        "payment_orders",
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("provider_user_id", sa.Integer(), nullable=False),
        sa.Column("declined", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint("tokens >= 0", name="payment_orders_tokens"),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"],
            ["payments.id"],
        ),
        sa.PrimaryKeyConstraint("payment_id", "order_id"),
    )
    op.create_index(
        "payment_orders_once",
        "payment_orders",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("declined IS false"),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("key_caller", sa.String(length=64), nullable=False),
        sa.Column("key_operation", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("key_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('refunding', 'settled', 'declined')", name="refunds_status"),
        sa.CheckConstraint("amount > 0", name="refunds_amount"),
        sa.CheckConstraint("tokens > 0", name="refunds_tokens"),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "refunds_one_at_a_time", "refunds", ["order_id"], unique=True, postgresql_where=sa.text("status = 'refunding'")
    )
    op.create_index(
        "refunds_open", "refunds", ["created_at"], unique=False, postgresql_where=sa.text("status = 'refunding'")
    )
    op.create_index("refunds_order", "refunds", ["order_id", "created_at"], unique=False)
    grant("itlc_orders", append_only=("audit",))
