"""Reconciliation: whatever of the money is broken in the stores is reported, by its row, and alone."""

import uuid
from typing import Any

import pytest
from itlc.stores import postgres
from itlc.wallet.model import TOPUPS

from tests.operations.system.world import JUST_BEFORE, LATER, LONG_AGO, NAMES, World
from tests.operations.wallet.test_payments import Cut, cut
from tests.support.calling import As
from tests.support.market import order_in
from tests.support.money import give, holder
from tests.support.queues import drain


def test_a_balance_that_is_not_the_sum(world: World) -> None:
    world.sql("itlc_users", "UPDATE users SET tokens = tokens + 7 WHERE id = :id", id=world.ada.user_id)
    world.sql("itlc_users", "UPDATE users SET tokens = tokens - 7 WHERE id = :id", id=world.bob.user_id)
    users = [f"user:{world.ada.user_id}", f"user:{world.bob.user_id}"]
    assert world.broken() == {"balance_is_sum_of_transfers": users}


@pytest.mark.parametrize(
    ("place", "side"), [(0, "credit"), (1, "debit"), (-1, "credit")], ids=["first", "between", "last"]
)
def test_a_balance_that_a_transfer_did_not_leave(world: World, place: int, side: str) -> None:
    """It, and the next one, which does not go on from there."""
    theirs = world.sql(
        "itlc_users",
        "SELECT id, debit_user_id FROM transfers WHERE :ada IN (debit_user_id, credit_user_id) ORDER BY sequence",
        ada=world.ada.user_id,
    )
    changed = theirs[place]["id"]
    world.sql("itlc_users", f"UPDATE transfers SET {side}_balance = {side}_balance + 1000 WHERE id = :id", id=changed)
    two = theirs[place:] if place < 0 else theirs[place : place + 2]
    assert world.broken() == {"balance_is_sum_of_transfers": [f"transfer:{row['id']}" for row in two]}


def erased(world: World, tokens: int = 0) -> As:
    """Eve, who was just erased; her tokens are still hers."""
    eve = holder("Eve", tokens)
    world.sql("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=eve.user_id)
    return eve


def forfeit(world: World, user_id: int | None, tokens: int = 5) -> uuid.UUID:
    """A transfer of a user's tokens to the house."""
    return world.transfer(
        kind="forfeit",
        debit_account=f"user:{user_id}",
        debit_user_id=user_id,
        debit_balance=-tokens,
        credit_account="house:forfeit",
        tokens=tokens,
    )


def test_a_negative_balance(world: World) -> None:
    eve = erased(world)
    with world.without("itlc_users", "users_tokens_not_negative"):
        moved = forfeit(world, eve.user_id)
        world.sql("itlc_users", "UPDATE users SET tokens = -5 WHERE id = :id", id=eve.user_id)
        assert world.broken() == {"no_balance_is_negative": [f"user:{eve.user_id}", f"transfer:{moved}"]}


def test_tokens_that_are_nowhere(world: World) -> None:
    eve = erased(world, 1)
    elsewhere = world.transfer(
        debit_account="house:forfeit", credit_account="house:elsewhere", kind="forfeit", tokens=1
    )  # makes the forfeit account negative, too
    forfeit(world, eve.user_id, 1)
    world.cover_up()
    found = world.found()
    assert [name for name in NAMES if found[name]["state"] == "broken"] == ["tokens_are_conserved"]
    assert found["tokens_are_conserved"]["rows"] == [f"transfer:{elsewhere}", "ledger"]
    assert "are not the 956 that were credited" in found["tokens_are_conserved"]["remark"]


def test_tokens_that_were_taken_from_somebody_who_is_there(world: World) -> None:
    moved = forfeit(world, world.ada.user_id)
    world.cover_up()
    assert world.broken() == {"tokens_are_conserved": [f"transfer:{moved}"]}


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "payment", "credit_account": "house:topups"},
        {"kind": "refund", "credit_account": "house:topups"},
        {"kind": "funding", "credit_account": "house:topups"},
        {"kind": "forfeit", "credit_account": "house:topups"},
        {"kind": "forfeit", "debit_account": "user:4711"},
        {"kind": "forfeit", "debit_user_id": None, "debit_balance": None},
        {"kind": "payment", "credit_account": "user:4711"},
    ],
    ids=str,
)
def test_a_transfer_that_nobody_could_make(world: World, fields: dict[str, Any]) -> None:
    ada = world.ada.user_id
    made = {"debit_account": f"user:{ada}", "debit_user_id": ada, "debit_balance": 0, "credit_account": "house:forfeit"}
    transfer_id = world.transfer(**{**made, **fields})
    assert f"transfer:{transfer_id}" in world.broken()["tokens_are_conserved"]


@pytest.mark.parametrize("side", ["credit", "debit"])
@pytest.mark.parametrize("order_id", ["4711", "NULL"])
def test_a_transfer_that_says_it_is_about_another_order_than_its_escrow(world: World, side: str, order_id: str) -> None:
    (changed,) = world.sql(
        "itlc_users",
        f"UPDATE transfers SET order_id = {order_id} WHERE order_id = :id AND {side}_account LIKE 'escrow:%' "
        "RETURNING id",
        id=world.paid,
    )
    assert world.broken() == {"tokens_are_conserved": [f"transfer:{changed['id']}"]}


@pytest.mark.parametrize("change", ["user_id = 1", "amount = 6", "status = 'failed'"])
def test_a_topup_that_is_not_what_was_credited(world: World, change: str) -> None:
    world.sql("itlc_tokens", f"UPDATE token_topups SET {change} WHERE id = :id", id=world.topup)
    assert world.broken() == {"topup_is_one_transfer": [f"topup:{world.topup}"]}


def test_a_completed_topup_that_nobody_got(world: World) -> None:
    (row,) = world.sql(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, amount, status, made_by) VALUES (1, 3, 'completed', 1) RETURNING id",
    )
    assert world.broken() == {"topup_is_one_transfer": [f"topup:{row['id']}"]}


def test_a_pending_topup_may_have_been_credited_just_now_but_not_long_ago(world: World) -> None:
    world.sql("itlc_tokens", "UPDATE token_topups SET status = 'pending' WHERE id = :id", id=world.topup)
    world.sql("itlc_users", "UPDATE transfers SET created_at = now() WHERE topup_id = :id", id=world.topup)
    assert world.broken() == {}
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LONG_AGO} WHERE topup_id = :id", id=world.topup)
    assert world.broken() == {"topup_is_one_transfer": [f"topup:{world.topup}"]}


@pytest.mark.parametrize("at", [LONG_AGO, JUST_BEFORE])
def test_a_credit_without_a_topup(world: World, at: str) -> None:
    ada = world.ada.user_id
    made = world.transfer(
        at=at,
        kind="topup",
        debit_account=TOPUPS.name,
        credit_account=f"user:{ada}",
        credit_user_id=ada,
        credit_balance=0,
    )
    world.cover_up()
    assert world.broken() == {"topup_is_one_transfer": [f"transfer:{made}"]}
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LATER} WHERE id = :id", id=made)
    assert world.broken() == {}  # its top-up may have been made after the top-ups were read


def test_a_credited_topup_that_was_deleted_at_once(world: World) -> None:
    (credited,) = world.sql(
        "itlc_users",
        f"UPDATE transfers SET created_at = {JUST_BEFORE} WHERE topup_id = :id RETURNING id",
        id=world.topup,
    )
    world.sql("itlc_tokens", "DELETE FROM token_topups WHERE id = :id", id=world.topup)
    assert world.broken()["topup_is_one_transfer"] == [f"transfer:{credited['id']}"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET tokens_charged = 121 WHERE id = :id",
        "UPDATE orders SET amount = 121.00 WHERE id = :id; UPDATE bidding SET amount = 121.00 WHERE order_id = :id",
    ],
)
def test_a_paid_order_of_another_amount_than_its_payment(world: World, change: str) -> None:
    for statement in change.split("; "):
        world.sql("itlc_orders", statement, id=world.paid)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.paid}"]}


def test_an_order_that_is_paid_without_a_payment(world: World) -> None:
    world.sql("itlc_orders", "UPDATE orders SET status = 'paid', tokens_charged = 15 WHERE id = :id", id=world.open)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.open}"]}


def test_a_payment_whose_order_is_not_paid(world: World) -> None:
    order_id = order_in("completed", world.ada, world.bob, "10.00")
    assert world.ada.call("pay_order", key="k", order_id=order_id).status == 201
    drain()
    world.sql("itlc_orders", "UPDATE orders SET status = 'completed' WHERE id = :id", id=order_id)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{order_id}"]}


@pytest.mark.parametrize("change", ["refunded_tokens = 29", "refunded_amount = 29.00, status = 'paid'"])
def test_an_order_that_shows_other_refunds_than_were_made(world: World, change: str) -> None:
    world.sql("itlc_orders", f"UPDATE orders SET {change} WHERE id = :id", id=world.refunded)
    assert world.broken() == {"refunds_are_within_payment": [f"order:{world.refunded}"]}


def test_a_refund_that_the_ledger_did_not_make(world: World) -> None:
    world.sql(
        "itlc_users",
        "UPDATE transfers SET order_id = :other WHERE kind = 'refund' AND order_id = :id",
        other=world.paid,
        id=world.refunded,
    )
    broken = world.broken()
    assert broken.keys() == {"refunds_are_within_payment"}
    assert f"order:{world.refunded}" in broken["refunds_are_within_payment"]


def test_an_escrow_that_went_to_somebody_else(world: World) -> None:
    (released,) = world.sql(
        "itlc_users", "SELECT * FROM transfers WHERE order_id = :id AND debit_account LIKE 'escrow:%'", id=world.paid
    )
    root = world.admin.user_id
    moved = "UPDATE transfers SET credit_account = :account, credit_user_id = :user_id WHERE id = :id"
    world.sql("itlc_users", moved, account=f"user:{root}", user_id=root, id=released["id"])
    world.cover_up()
    assert world.broken() == {"escrow_is_settled_once": [released["debit_account"]]}


def test_an_escrow_that_was_forfeited_though_its_provider_is_there(world: World) -> None:
    (released,) = world.sql(
        "itlc_users",
        """UPDATE transfers SET kind = 'forfeit', credit_account = 'house:forfeit', credit_user_id = NULL,
            credit_balance = NULL
        WHERE order_id = :id AND debit_account LIKE 'escrow:%' RETURNING debit_account""",
        id=world.paid,
    )
    world.cover_up()
    assert world.broken() == {"escrow_is_settled_once": [released["debit_account"]]}


def test_a_refund_that_nobody_asked_for_though_the_balances_are_right(world: World) -> None:
    ada, bob = world.ada.user_id, world.bob.user_id
    made = world.transfer(
        at=JUST_BEFORE,
        kind="refund",
        debit_account=f"user:{bob}",
        debit_user_id=bob,
        debit_balance=0,
        credit_account=f"user:{ada}",
        credit_user_id=ada,
        credit_balance=0,
        order_id=world.paid,
    )
    world.cover_up()
    assert world.broken() == {"refunds_are_within_payment": [f"order:{world.paid}"]}
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LATER} WHERE id = :id", id=made)
    assert world.broken() == {}  # it may have been asked for after the orders were read


def test_a_refund_of_no_order(world: World) -> None:
    made = world.transfer(debit_account="house:lost", credit_account="house:lost too")
    assert world.broken()["refunds_are_within_payment"] == [f"transfer:{made}"]


def test_an_escrow_that_was_emptied_twice(world: World) -> None:
    (released,) = world.sql(
        "itlc_users",
        "SELECT * FROM transfers WHERE order_id = :id AND debit_account LIKE 'escrow:%'",
        id=world.refunded,
    )
    with world.without("itlc_users", "transfers_escrow_settled_once"):
        fields = ("kind", "debit_account", "credit_account", "credit_user_id", "credit_balance", "tokens", "order_id")
        world.transfer(**{name: released[name] for name in fields})
        world.cover_up()
        broken = world.broken()
        assert broken["escrow_is_settled_once"] == [released["debit_account"]]
        assert broken.keys() == {"escrow_is_settled_once", "no_balance_is_negative"}  # an escrow gave more than it had


@pytest.mark.parametrize("at", [LONG_AGO, JUST_BEFORE])
def test_an_escrow_without_a_payment(world: World, at: str) -> None:
    account = f"escrow:{uuid.uuid4()}:1"
    fields = {"kind": "payment", "order_id": 1}
    ada = world.ada.user_id
    world.transfer(
        at=at, debit_account=f"user:{ada}", debit_user_id=ada, debit_balance=0, credit_account=account, **fields
    )
    world.transfer(
        at=at, debit_account=account, credit_account=f"user:{ada}", credit_user_id=ada, credit_balance=5, **fields
    )
    world.cover_up()
    assert world.broken() == {"escrow_is_settled_once": [account]}
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LATER} WHERE credit_account = :a", a=account)
    assert world.broken() == {}  # its payment may have been made after the orders were read


def test_an_escrow_that_stays_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = order_in("completed", world.ada, world.bob, "10.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert world.ada.call("pay_order", key="k", order_id=order_id).status == 201
    (filled,) = world.sql("itlc_users", "SELECT * FROM transfers WHERE order_id = :id", id=order_id)
    assert world.broken() == {}  # on its way
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LONG_AGO} WHERE order_id = :id", id=order_id)
    assert world.broken() == {"escrow_is_settled_in_time": [filled["credit_account"]]}


def test_an_escrow_that_is_noted_as_full_and_is_not(world: World) -> None:
    (emptied,) = world.sql(
        "itlc_users", "SELECT debit_account AS name FROM transfers WHERE debit_account LIKE 'escrow:%' LIMIT 1"
    )
    for account in (emptied["name"], "escrow:7"):
        world.sql("itlc_users", "INSERT INTO full_escrows (account) VALUES (:account)", account=account)
    assert world.broken() == {"escrow_is_settled_in_time": sorted([emptied["name"], "escrow:7"])}


@pytest.mark.parametrize(("side", "kind"), [("credit", "topup"), ("debit", "refund")])
def test_an_account_that_is_another_users_than_the_transfer_says(world: World, side: str, kind: str) -> None:
    (changed,) = world.sql(
        "itlc_users",
        f"UPDATE transfers SET {side}_account = 'user:4711' WHERE id = "
        "(SELECT id FROM transfers WHERE kind = :kind ORDER BY sequence LIMIT 1) RETURNING id",
        kind=kind,
    )
    assert world.broken() == {"tokens_are_conserved": [f"transfer:{changed['id']}"]}


def test_an_escrow_that_somebody_else_filled(world: World) -> None:
    give(world.admin.user_id or 0, 500)
    (filled,) = world.sql(
        "itlc_users",
        "UPDATE transfers SET debit_account = 'user:' || :root, debit_user_id = :root "
        "WHERE order_id = :id AND credit_account LIKE 'escrow:%' RETURNING credit_account",
        root=world.admin.user_id,
        id=world.paid,
    )
    world.cover_up()
    assert world.broken()["escrow_is_settled_once"] == [filled["credit_account"]]
