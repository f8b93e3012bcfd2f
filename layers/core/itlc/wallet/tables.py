"""Where tokens are and how they moved: the ledger (`itlc_users`), payments and refunds (`itlc_orders`), top-ups
(`itlc_tokens`).

The ledger's transfers are append-only: the application's role may insert and read them, nothing else. A user's
`tokens` is what the transfers add up to, kept in the same transaction.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Uuid,
    text,
)

from itlc.stores import postgres
from itlc.stores.bookkeeping import TIMESTAMP, created_at

KINDS = ("topup", "payment", "refund", "funding", "release", "forfeit")

# Accounts are named, not stored: `user:12`, `escrow:<payment>:<order>`, `house:topups`, `house:forfeit`.
transfers = Table(
    "transfers",
    postgres.users.metadata,
    Column("id", Uuid, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("debit_account", String(96), nullable=False),
    Column("credit_account", String(96), nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("debit_user_id", Integer),
    Column("debit_balance", Integer),
    Column("credit_user_id", Integer),
    Column("credit_balance", Integer),
    Column("order_id", Integer),
    Column("topup_id", Integer),
    Column("request_id", String(64)),
    created_at(),
    CheckConstraint("tokens > 0", name="transfers_tokens_positive"),
    CheckConstraint("debit_account <> credit_account", name="transfers_between_two"),
    CheckConstraint(f"kind IN {KINDS}", name="transfers_kind"),
    CheckConstraint("(debit_user_id IS NULL) = (debit_balance IS NULL)", name="transfers_debit_balance"),
    CheckConstraint("(credit_user_id IS NULL) = (credit_balance IS NULL)", name="transfers_credit_balance"),
)
Index("transfers_debited", transfers.c.debit_user_id, transfers.c.sequence)
Index("transfers_credited", transfers.c.credit_user_id, transfers.c.sequence)
Index("transfers_order", transfers.c.order_id)
Index("transfers_debit_account", transfers.c.debit_account)
Index("transfers_credit_account", transfers.c.credit_account)
# Of an escrow, one transfer in and one out: released or given back, never both.
Index(
    "transfers_escrow_filled_once",
    transfers.c.credit_account,
    unique=True,
    postgresql_where=text("credit_account LIKE 'escrow:%'"),
)
Index(
    "transfers_escrow_settled_once",
    transfers.c.debit_account,
    unique=True,
    postgresql_where=text("debit_account LIKE 'escrow:%'"),
)

# The escrows that hold tokens at this moment, kept in the ledger's transactions: few, where the ledger is long. The
# tokens go to the payee, or back to the payer: until then both must have room for them.
full_escrows = Table(
    "full_escrows",
    postgres.users.metadata,
    Column("account", String(96), primary_key=True),
    created_at(),
    Column("tokens", Integer),
    Column("payer_id", Integer),
    Column("payee_id", Integer),
    Index("full_escrows_oldest", "created_at", "account"),
    Index("full_escrows_payer", "payer_id"),
    Index("full_escrows_payee", "payee_id"),
)


def _key_columns() -> tuple[Column[str], ...]:
    """The idempotency key of the request that began it: whoever settles it gives that request its answer."""
    return (
        Column("key_caller", String(64), nullable=False),
        Column("key_operation", String(64), nullable=False),
        Column("key", String(255), nullable=False),
        Column("key_fingerprint", String(64), nullable=False),
    )


payments = Table(
    "payments",
    postgres.orders.metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", String(24)),
    Column("customer_id", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("rate", Numeric, nullable=False),
    Column("status", String(16), nullable=False),
    Column("balance", Integer),
    *_key_columns(),
    Column("request_id", String(64)),
    created_at(),
    Column("settled_at", TIMESTAMP),
    CheckConstraint("status IN ('paying', 'settled', 'declined')", name="payments_status"),
    CheckConstraint("tokens >= 0", name="payments_tokens"),
    Index("payments_customer", "customer_id", "created_at"),
    Index("payments_project", "project_id"),
)
Index("payments_open", payments.c.created_at, postgresql_where=payments.c.status == "paying")

payment_orders = Table(
    "payment_orders",
    postgres.orders.metadata,
    Column("payment_id", Uuid, ForeignKey("payments.id"), primary_key=True),
    Column("order_id", Integer, ForeignKey("orders.id"), primary_key=True),
    Column("tokens", Integer, nullable=False),
    Column("provider_user_id", Integer, nullable=False),
    Column("declined", Boolean, nullable=False, server_default="false"),
    CheckConstraint("tokens >= 0", name="payment_orders_tokens"),
)
# An order is paid once: a second payment can begin only when the first was declined.
Index(
    "payment_orders_once",
    payment_orders.c.order_id,
    unique=True,
    postgresql_where=payment_orders.c.declined.is_(False),
)

refunds = Table(
    "refunds",
    postgres.orders.metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", Integer, ForeignKey("orders.id"), nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    *_key_columns(),
    Column("request_id", String(64)),
    created_at(),
    Column("settled_at", TIMESTAMP),
    CheckConstraint("status IN ('refunding', 'settled', 'declined')", name="refunds_status"),
    CheckConstraint("tokens > 0", name="refunds_tokens"),
    CheckConstraint("amount > 0", name="refunds_amount"),
    Index("refunds_order", "order_id", "created_at"),
)
Index("refunds_open", refunds.c.created_at, postgresql_where=refunds.c.status == "refunding")
Index("refunds_with_key", refunds.c.key_caller, postgresql_where=refunds.c.key != "")
# One at a time, so that what is left to give back is always known.
Index("refunds_one_at_a_time", refunds.c.order_id, unique=True, postgresql_where=refunds.c.status == "refunding")

token_topups = Table(
    "token_topups",
    postgres.tokens.metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
    Column("status", String(16), nullable=False, server_default="pending"),
    created_at(),
    Column("made_by", Integer, nullable=False),
    Column("failure", String(200)),
    Column("settled_at", TIMESTAMP),
    CheckConstraint("status IN ('pending', 'completed', 'failed')", name="token_topups_status"),
    CheckConstraint("amount >= 1 AND amount <= 1000000000 AND amount = trunc(amount)", name="token_topups_amount"),
    Index("token_topups_user", "user_id", "created_at", "id"),
    Index("token_topups_maker", "made_by", "created_at", "id"),
)
Index("token_topups_pending", token_topups.c.created_at, postgresql_where=token_topups.c.status == "pending")
