"""The wallet's queries, by database: the ledger (`itlc_users`), payments and refunds (`itlc_orders`), top-ups
(`itlc_tokens`).

`users.tokens` is the ledger's: of the accounts' table, this is the column that is written here, and nowhere else.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, union_all, update

from itlc.accounts.tables import users
from itlc.paging import Found, PageQuery, cut
from itlc.stores.keyset import keyset
from itlc.wallet.tables import full_escrows, payment_orders, payments, refunds, token_topups, transfers

PARTIES = (full_escrows.c.payer_id, full_escrows.c.payee_id)

# The ledger


def holders_for_change(db: Connection, user_ids: Collection[int]) -> dict[int, Row[Any]]:
    """The balances of these users (erased ones too), locked in the order of their ids until the transaction ends."""
    if not user_ids:
        return {}
    chosen = select(users.c.id, users.c.tokens, users.c.erased_at).where(users.c.id.in_(user_ids))
    rows: Sequence[Any] = db.execute(chosen.order_by(users.c.id).with_for_update(key_share=True)).all()
    return {row.id: row for row in rows}


def balance(db: Connection, user_id: int) -> int | None:
    """A user's balance; None when there is no such user, or no longer."""
    alive = select(users.c.tokens).where(users.c.id == user_id, users.c.erased_at.is_(None))
    return db.execute(alive).scalar_one_or_none()


def set_balance(db: Connection, user_id: int, tokens: int) -> None:
    """What a locked user's transfers add up to now. `updated_at` is about their profile, and stays."""
    db.execute(update(users).where(users.c.id == user_id).values(tokens=tokens))


def transfers_made(db: Connection, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
    """Those of these transfers that were made, by id."""
    rows = db.execute(select(transfers).where(transfers.c.id.in_(ids))).all()
    return {row.id: row for row in rows}


def add_transfer(db: Connection, **fields: Any) -> Row[Any]:
    """The new transfer. Its time is the clock's, not that of the transaction's begin: whoever waited for a lock comes
    after whom they waited for, in time as in `sequence`."""
    made = insert(transfers).values(**fields, created_at=func.clock_timestamp())
    return db.execute(made.returning(transfers)).one()


def held_in(db: Connection, escrows: Collection[str]) -> dict[str, int]:
    """What was paid into these escrows, by their names."""
    if not escrows:
        return {}
    filled = select(transfers.c.credit_account, transfers.c.tokens).where(transfers.c.credit_account.in_(escrows))
    return {row.credit_account: row.tokens for row in db.execute(filled)}


def on_the_way_to(db: Connection, user_ids: Collection[int]) -> dict[int, int]:
    """How many tokens the escrows that are full may bring each of these users, who are locked: as the payee, or back
    as the payer."""
    sides = (select(side.label("user_id"), full_escrows.c.tokens).where(side.in_(user_ids)) for side in PARTIES)
    either = union_all(*sides).subquery()
    sums = select(either.c.user_id, func.sum(either.c.tokens).label("tokens")).group_by(either.c.user_id)
    return {row.user_id: int(row.tokens) for row in db.execute(sums)}


def note_escrows(db: Connection, *, filled: Sequence[dict[str, Any]], emptied: Sequence[str]) -> None:
    """Note which escrows hold tokens from now on (`account`, `tokens`, `payer_id`, `payee_id`), and which, by their
    names, no longer do."""
    if filled:
        db.execute(insert(full_escrows).values(filled))
    if emptied:
        db.execute(delete(full_escrows).where(full_escrows.c.account.in_(emptied)))


def transfers_of_user(db: Connection, user_id: int, query: PageQuery) -> Found[Row[Any]]:
    """A page of a user's transfers, newest first. Each side is one index, walked from the page's position."""
    sides = (transfers.c.debit_user_id, transfers.c.credit_user_id)
    parts = [
        keyset(select(transfers).where(side == user_id), [transfers.c.sequence], query).subquery() for side in sides
    ]
    either = union_all(*(select(part) for part in parts)).subquery()
    newest = select(either).order_by(either.c.sequence.desc()).limit(query.limit + 1)
    return cut(db.execute(newest).all(), query, lambda row: (row.sequence,))


# Payments


def add_payment(db: Connection, orders: Sequence[dict[str, Any]], **fields: Any) -> None:
    """A new payment of these orders: for each `order_id`, `tokens`, `provider_user_id`."""
    db.execute(insert(payments).values(**fields, created_at=func.clock_timestamp()))
    db.execute(insert(payment_orders), [{"payment_id": fields["id"], **order} for order in orders])


def payment_for_change(db: Connection, payment_id: uuid.UUID) -> Row[Any] | None:
    """One payment, locked until the transaction ends, or None."""
    chosen = select(payments).where(payments.c.id == payment_id)
    return db.execute(chosen.with_for_update(key_share=True)).one_or_none()


def orders_of_payment(db: Connection, payment_id: uuid.UUID) -> Sequence[Row[Any]]:
    """Which orders a payment covers, by their ids. They never change."""
    covered = select(payment_orders).where(payment_orders.c.payment_id == payment_id)
    return db.execute(covered.order_by(payment_orders.c.order_id)).all()


def end_payment(db: Connection, payment_id: uuid.UUID, status: str, balance: int | None = None) -> None:
    """Note how a payment ended; after a declined one its orders may be paid again."""
    end = update(payments).where(payments.c.id == payment_id)
    db.execute(end.values(status=status, balance=balance, settled_at=func.clock_timestamp()))
    if status == "declined":
        free = update(payment_orders).where(payment_orders.c.payment_id == payment_id)
        db.execute(free.values(declined=True))


def rate_paid(db: Connection, order_id: int) -> Decimal:
    """The rate at which an order was paid, which has its payment."""
    found = (
        select(payments.c.rate)
        .join(payment_orders, payment_orders.c.payment_id == payments.c.id)
        .where(payment_orders.c.order_id == order_id, payment_orders.c.declined.is_(False))
    )
    rate: Decimal = db.execute(found).scalar_one()
    return rate


# Refunds


def refund_under_way(db: Connection, order_id: int) -> bool:
    """Whether a refund of the order has not ended yet."""
    running = select(refunds.c.id).where(refunds.c.order_id == order_id, refunds.c.status == "refunding")
    return db.execute(running).one_or_none() is not None


def add_refund(db: Connection, **fields: Any) -> Row[Any]:
    """The new refund."""
    return db.execute(insert(refunds).values(**fields, created_at=func.clock_timestamp()).returning(refunds)).one()


def refund(db: Connection, refund_id: uuid.UUID) -> Row[Any] | None:
    """One refund, or None."""
    return db.execute(select(refunds).where(refunds.c.id == refund_id)).one_or_none()


def end_refund(db: Connection, refund_id: uuid.UUID, status: str) -> Row[Any] | None:
    """The refund, ended; None when it had ended before."""
    running = (refunds.c.id == refund_id, refunds.c.status == "refunding")
    end = update(refunds).where(*running).values(status=status, settled_at=func.clock_timestamp())
    return db.execute(end.returning(refunds)).one_or_none()


# Top-ups


def add_topup(db: Connection, **fields: Any) -> Row[Any]:
    """The new top-up, pending."""
    return db.execute(insert(token_topups).values(**fields).returning(token_topups)).one()


def topup(db: Connection, topup_id: int) -> Row[Any] | None:
    """One top-up, or None."""
    return db.execute(select(token_topups).where(token_topups.c.id == topup_id)).one_or_none()


def topups_of(db: Connection, user_id: int, query: PageQuery) -> Found[Row[Any]]:
    """A page of the top-ups that a user gets or made, newest first."""
    newest_first = (token_topups.c.created_at, token_topups.c.id)
    gets = select(token_topups).where(token_topups.c.user_id == user_id)
    made = select(token_topups).where(token_topups.c.made_by == user_id, token_topups.c.user_id != user_id)
    parts = [keyset(part, newest_first, query).subquery() for part in (gets, made)]
    either = union_all(*(select(part) for part in parts)).subquery()
    newest = select(either).order_by(either.c.created_at.desc(), either.c.id.desc()).limit(query.limit + 1)
    return cut(db.execute(newest).all(), query, lambda row: (row.created_at, row.id))


def end_topup(db: Connection, topup_id: int, status: str, failure: str | None) -> Row[Any] | None:
    """The top-up, ended; None when it had ended before."""
    pending = (token_topups.c.id == topup_id, token_topups.c.status == "pending")
    end = update(token_topups).where(*pending)
    end = end.values(status=status, failure=failure, settled_at=func.clock_timestamp())
    return db.execute(end.returning(token_topups)).one_or_none()


def stuck_topups(db: Connection, older_than: timedelta, after_id: int, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` top-ups that have been pending for longer than that, by id, from `after_id` on."""
    stuck = select(token_topups).where(
        token_topups.c.status == "pending",
        token_topups.c.created_at < func.now() - older_than,
        token_topups.c.id > after_id,
    )
    return db.execute(stuck.order_by(token_topups.c.id).limit(limit)).all()


# A person's data


def all_transfers_of_user(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All transfers from and to a user, oldest first."""
    theirs = or_(transfers.c.debit_user_id == user_id, transfers.c.credit_user_id == user_id)
    return db.execute(select(transfers).where(theirs).order_by(transfers.c.sequence)).all()


def payments_of_party(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All payments that a user made or got, one row for each order, without the keys; oldest first."""
    joined = select(
        payments.c.id,
        payments.c.project_id,
        payments.c.customer_id,
        payments.c.rate,
        payments.c.status,
        payments.c.created_at,
        payments.c.settled_at,
        payment_orders.c.order_id,
        payment_orders.c.provider_user_id,
        payment_orders.c.tokens,
    ).join(payment_orders, payment_orders.c.payment_id == payments.c.id)
    theirs = or_(payments.c.customer_id == user_id, payment_orders.c.provider_user_id == user_id)
    rows: Sequence[Any] = db.execute(
        joined.where(theirs).order_by(payments.c.created_at, payment_orders.c.order_id)
    ).all()
    return rows


def refunds_of_orders(db: Connection, order_ids: Collection[int]) -> Sequence[Row[Any]]:
    """All refunds of these orders, without the keys, oldest first."""
    fields = [refunds.c[name] for name in ("id", "order_id", "amount", "tokens", "status", "created_at", "settled_at")]
    of_these = select(*fields).where(refunds.c.order_id.in_(order_ids))
    return db.execute(of_these.order_by(refunds.c.created_at)).all()


def all_topups_of(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All top-ups that a user gets or made, by id."""
    theirs = or_(token_topups.c.user_id == user_id, token_topups.c.made_by == user_id)
    return db.execute(select(token_topups).where(theirs).order_by(token_topups.c.id)).all()


def pending_topups_of(db: Connection, user_id: int, after_id: int, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` top-ups that are pending and would go to a user, by id, from `after_id` on."""
    theirs = (token_topups.c.user_id == user_id, token_topups.c.id > after_id)
    pending = select(token_topups).where(*theirs, token_topups.c.status == "pending")
    return db.execute(pending.order_by(token_topups.c.id).limit(limit)).all()


def forget_projects_and_keys(db: Connection, user_id: int) -> None:
    """Take the projects and the idempotency keys, which are a client's own words, off a user's payments that have
    ended, and the keys off all refunds that the user began: one that is under way still ends, but its answer is asked
    for by nobody."""
    paid = (payments.c.customer_id == user_id, payments.c.status != "paying")
    db.execute(update(payments).where(*paid).values(key="", project_id=None))
    given_back = (refunds.c.key_caller == f"user:{user_id}", refunds.c.key != "")
    db.execute(update(refunds).where(*given_back).values(key=""))
