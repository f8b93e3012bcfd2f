"""What was paid and given back for an order, for its timeline."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from itlc.wallet.tables import payment_orders, payments, refunds


def payments_of_order(db: Connection, order_id: int) -> Sequence[Row[Any]]:
    """The payments that were begun for an order, oldest first: `id`, `status`, `created_at`, and the `tokens` that
    were the order's. There is one that was not declined at the most."""
    fields = [payments.c.id, payments.c.status, payments.c.created_at, payment_orders.c.tokens]
    joined = select(*fields).join(payment_orders, payment_orders.c.payment_id == payments.c.id)
    return db.execute(joined.where(payment_orders.c.order_id == order_id).order_by(payments.c.created_at)).all()


def refunds_of_order(db: Connection, order_id: int) -> Sequence[Row[Any]]:
    """The refunds that were begun for an order, oldest first."""
    given_back = select(refunds).where(refunds.c.order_id == order_id)
    return db.execute(given_back.order_by(refunds.c.created_at)).all()
