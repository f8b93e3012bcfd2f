"""The queries on money that is still on its way: payments and refunds under way, escrows that are full."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select, tuple_

from itlc.idempotency import Key
from itlc.paging import Position
from itlc.wallet import tables
from itlc.wallet.tables import payments, refunds


def payments_under_way(db: Connection, older_than: timedelta, after: Position | None, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` payments that have been under way for longer than that, oldest first, from the position
    (`created_at`, `id`) on."""
    return _under_way(db, payments, "paying", older_than, after, limit)


def refunds_under_way(db: Connection, older_than: timedelta, after: Position | None, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` refunds that have been under way for longer than that, oldest first, from the position
    (`created_at`, `id`) on."""
    return _under_way(db, refunds, "refunding", older_than, after, limit)


def payment_under_key(db: Connection, key: Key) -> Row[Any] | None:
    """The payment that a request with this key began and that is under way, or None."""
    return _under_key(db, payments, "paying", key)


def refund_under_key(db: Connection, key: Key) -> Row[Any] | None:
    """The refund that a request with this key began and that is under way, or None."""
    return _under_key(db, refunds, "refunding", key)


def full_escrows(db: Connection, older_than: timedelta, after: Position | None, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` escrows that have been full for longer than that, oldest first, from the position (`created_at`,
    `account`) on."""
    place = (tables.full_escrows.c.created_at, tables.full_escrows.c.account)
    full = select(tables.full_escrows).where(tables.full_escrows.c.created_at < func.now() - older_than)
    if after is not None:
        full = full.where(tuple_(*place) > tuple_(*after))
    return db.execute(full.order_by(*place).limit(limit)).all()


def payment(db: Connection, payment_id: uuid.UUID) -> Row[Any] | None:
    """One payment, or None. Takes no lock."""
    return db.execute(select(payments).where(payments.c.id == payment_id)).one_or_none()


def _under_key(db: Connection, table: Table, status: str, key: Key) -> Row[Any] | None:
    began = (table.c.key_caller == key.caller, table.c.key_operation == key.operation, table.c.key == key.key)
    return db.execute(select(table).where(table.c.status == status, *began)).one_or_none()


def _under_way(
    db: Connection, table: Table, status: str, older_than: timedelta, after: Position | None, limit: int
) -> Sequence[Row[Any]]:
    old = select(table).where(table.c.status == status, table.c.created_at < func.now() - older_than)
    if after is not None:
        old = old.where(tuple_(table.c.created_at, table.c.id) > tuple_(*after))
    return db.execute(old.order_by(table.c.created_at, table.c.id).limit(limit)).all()
