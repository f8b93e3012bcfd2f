"""What is known of a person's tokens: shown to them, and settled when they leave.

Transfers, payments, refunds and top-ups stay: they name nobody.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from itlc.stores import keys, postgres
from itlc.wallet import repository, topups

BATCH = 100


def export_ledger(db: Connection, user_id: int) -> dict[str, Any]:
    """Of `itlc_users`: all transfers from and to the person."""
    return {"transfers": _plain(repository.all_transfers_of_user(db, user_id))}


def export_payments(db: Connection, user_id: int, order_ids: Collection[int]) -> dict[str, Any]:
    """Of `itlc_orders`: the payments that the person made or got, and the refunds of their orders."""
    return {
        "payments": _plain(repository.payments_of_party(db, user_id)),
        "refunds": _plain(repository.refunds_of_orders(db, order_ids)),
    }


def export_topups(db: Connection, user_id: int) -> dict[str, Any]:
    """Of `itlc_tokens`: the top-ups that the person made or got."""
    return {"topups": _plain(repository.all_topups_of(db, user_id))}


def fail_pending(user_id: int) -> None:
    """Let the top-ups fail that are still on their way to somebody whose account is gone; one that was credited
    before is completed, and one that contradicts the ledger is left. Opens `itlc_tokens` and `itlc_users` itself."""
    after_id = 0
    while True:
        with postgres.tokens.read() as db:
            pending = repository.pending_topups_of(db, user_id, after_id, BATCH)
        for row in pending:
            topups.settle_now(row, "payee_gone", job="erase_user")
            after_id = row.id
        if len(pending) < BATCH:
            return


def erase(db: Connection, user_id: int) -> None:
    """Of `itlc_orders`: payments that have ended belong to no project any more; they and the refunds forget the words
    of their idempotency keys, as the keys themselves do at the same moment."""
    repository.forget_projects_and_keys(db, user_id)
    keys.forget(db, f"user:{user_id}")


def _plain(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in rows]
