"""What users see of the ledger: their balance and their statement."""

from typing import Any

from sqlalchemy import Connection, Row

from itlc.access import Caller
from itlc.errors import Unauthenticated
from itlc.paging import Found
from itlc.wallet import repository
from itlc.wallet.schemas import Balance, LedgerEntry, LedgerQuery


def show_balance(db: Connection, caller: Caller) -> Balance:
    """The caller's balance. Raises Unauthenticated when they were erased: their token outlives them by minutes."""
    tokens = repository.balance(db, caller.id)
    if tokens is None:
        raise Unauthenticated("This account no longer exists.")
    return Balance(tokens=tokens)


def list_ledger(db: Connection, query: LedgerQuery, *, caller: Caller) -> Found[LedgerEntry]:
    """A page of the caller's statement, newest first."""
    return repository.transfers_of_user(db, caller.id, query).map(lambda row: _entry(row, caller.id))


def _entry(row: Row[Any], user_id: int) -> LedgerEntry:
    comes_in = row.credit_user_id == user_id
    return LedgerEntry(
        id=row.id,
        kind=row.kind,
        direction="credit" if comes_in else "debit",
        tokens=row.tokens,
        balance_after=row.credit_balance if comes_in else row.debit_balance,
        order_id=row.order_id,
        topup_id=row.topup_id,
        created_at=row.created_at,
    )
