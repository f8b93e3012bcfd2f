"""People with tokens, and what must be true of all money after whatever a test did."""

import json
import random
import uuid
from functools import partial
from typing import Any

from tests.support.calling import As, deliver
from tests.support.market import member, order_in
from tests.support.stack import Stores


def holder(name: str, tokens: int = 0, *, admin: bool = False) -> As:
    """Somebody with an account, a session that lives, and so many tokens, credited by a top-up."""
    from datetime import timedelta

    from itlc.accounts import repository
    from itlc.stores import postgres

    somebody = member(name, admin=admin)
    user_id = somebody.user_id
    assert user_id is not None
    session_id = uuid.uuid4()
    postgres.users.write(
        partial(repository.add_session, session_id=session_id, user_id=user_id, lasting=timedelta(days=1))
    )
    if admin:
        postgres.users.write(partial(repository.change_user, user_id=user_id, changes={"is_admin": True}))
    if tokens:
        give(user_id, tokens)
    return As(user_id, is_admin=admin, session_id=str(session_id))


def give(user_id: int, tokens: int) -> None:
    """Credit tokens by a completed top-up, in the ledger and in its own database."""
    from itlc.stores import postgres
    from itlc.wallet import repository, topups

    def ask(db: Any) -> Any:
        return repository.add_topup(db, user_id=user_id, amount=tokens, made_by=user_id)

    row = postgres.tokens.write(ask)
    topups.SAGA.run(topups.first_of(row))


def payable(customer: As, provider: As, *amounts: str, project_id: str | None = None) -> list[int]:
    """The ids of completed orders of the customer's, one for each amount."""
    return [order_in("completed", customer, provider, amount, project_id=project_id) for amount in amounts]


def tokens_of(stores: Stores, *people: As) -> list[int]:
    """What these people have."""
    rows = stores.rows("itlc_users", "SELECT id, tokens FROM users")
    balances = {row["id"]: row["tokens"] for row in rows}
    return [balances[person.user_id] for person in people]


def outbox(stores: Stores) -> list[tuple[str, str]]:
    """Every event that any database emitted to a money queue: the consumer and the message."""
    consumers = {"topups": "process_topups", "payments": "settle_payments"}
    messages = []
    for database in ("itlc_orders", "itlc_users", "itlc_tokens"):
        for row in stores.rows(database, "SELECT * FROM outbox WHERE queue IN ('topups', 'payments')"):
            message = {
                "schema": 1,
                "type": row["type"],
                "aggregate": row["aggregate"],
                "payload": row["payload"],
                "id": str(row["id"]),
                "created_at": row["created_at"].isoformat(),
                "aggregate_version": row["aggregate_version"],
                "request_id": row["request_id"],
            }
            messages.append((consumers[row["queue"]], json.dumps(message)))
    return messages


def deliver_again(stores: Stores, times: int = 3, seed: int = 0) -> None:
    """Deliver every message that was ever emitted `times` times more, in an order of chance."""
    messages = outbox(stores) * times
    random.Random(seed).shuffle(messages)  # noqa: S311
    for consumer, body in messages:
        assert deliver(consumer, body) == []


def money(stores: Stores) -> dict[str, Any]:
    """All that is about money, as it is now: to see that something changed none of it."""
    tables = {
        "itlc_users": ("transfers", "audit"),
        "itlc_orders": ("orders", "payments", "payment_orders", "refunds", "idempotency_keys", "audit"),
        "itlc_tokens": ("token_topups",),
    }
    seen: dict[str, Any] = {
        f"{database}.{table}": sorted(map(str, stores.rows(database, f"SELECT * FROM {table}")))
        for database, names in tables.items()
        for table in names
    }
    return {**seen, "balances": stores.rows("itlc_users", "SELECT id, tokens FROM users ORDER BY id")}


def ledger_holds(stores: Stores) -> None:
    """Assert what is always true of money, across the databases."""
    users = {row["id"]: row["tokens"] for row in stores.rows("itlc_users", "SELECT id, tokens FROM users")}
    transfers = stores.rows("itlc_users", "SELECT * FROM transfers ORDER BY sequence")
    sums: dict[str, int] = {f"user:{user_id}": 0 for user_id in users}
    for row in transfers:
        for side, sign in (("debit", -1), ("credit", 1)):
            name, user_id = row[f"{side}_account"], row[f"{side}_user_id"]
            sums[name] = sums.get(name, 0) + sign * row["tokens"]
            if user_id is not None:
                assert name == f"user:{user_id}"
                assert row[f"{side}_balance"] == sums[name], f"the balance on {row}"
            assert sums[name] >= 0 or name == "house:topups", f"{name} is negative after {row}"
    assert {f"user:{user_id}": tokens for user_id, tokens in users.items()} == {
        name: tokens for name, tokens in sums.items() if name.startswith("user:")
    }

    payments = {str(row["id"]): row["status"] for row in stores.rows("itlc_orders", "SELECT * FROM payments")}
    escrows = {name: tokens for name, tokens in sums.items() if name.startswith("escrow:")}
    applied = {row["message_id"] for row in stores.rows("itlc_users", "SELECT message_id FROM inbox")}
    unreleased = {
        row["payload"]["payment_id"]
        for row in stores.rows("itlc_orders", "SELECT * FROM outbox WHERE type IN ('release', 'give_back')")
        if row["id"] not in applied
    }
    for name, tokens in escrows.items():
        _, payment_id, _ = name.split(":")
        on_its_way = payment_id in unreleased or payments.get(payment_id) == "paying"
        assert tokens == 0 or on_its_way, f"{name} holds {tokens}, and its payment is {payments.get(payment_id)}"

    completed = stores.rows("itlc_tokens", "SELECT id, user_id, amount FROM token_topups WHERE status = 'completed'")
    credited = {row["topup_id"]: row for row in transfers if row["kind"] == "topup"}
    for row in completed:
        assert credited[row["id"]]["tokens"] == row["amount"]
        assert credited[row["id"]]["credit_user_id"] == row["user_id"]
    failed = stores.rows("itlc_tokens", "SELECT id FROM token_topups WHERE status = 'failed'")
    assert not {row["id"] for row in failed} & credited.keys(), "a failed top-up was credited"
    everywhere = sum(users.values()) + sum(escrows.values()) + sums.get("house:forfeit", 0)
    assert everywhere == sum(row["tokens"] for row in credited.values()), "tokens came from nowhere, or went there"

    for order in stores.rows("itlc_orders", "SELECT * FROM orders WHERE status IN ('paid', 'refunded')"):
        covering = stores.rows(
            "itlc_orders",
            "SELECT p.status, p.customer_id, po.tokens, po.provider_user_id FROM payment_orders po "
            "JOIN payments p ON p.id = po.payment_id WHERE po.order_id = :id AND NOT po.declined",
            id=order["id"],
        )
        assert [dict(row) for row in covering] == [
            {
                "status": "settled",
                "customer_id": order["user_id"],
                "tokens": order["tokens_charged"],
                "provider_user_id": order["provider_user_id"],
            }
        ], f"order {order['id']} is {order['status']} without just one settled payment"
        given_back = sum(row["tokens"] for row in transfers if _is(row, "refund", order["id"]))
        settled = stores.rows(
            "itlc_orders", "SELECT * FROM refunds WHERE order_id = :id AND status = 'refunding'", id=order["id"]
        )
        assert settled or order["refunded_tokens"] == given_back <= order["tokens_charged"]


def _is(row: dict[str, Any], kind: str, order_id: int) -> bool:
    return bool(row["kind"] == kind and row["order_id"] == order_id)
