"""The ledger itself, on its database: once for each cause, both sides in balance, nothing to be changed later."""

import uuid
from typing import Any

import pytest
from itlc.errors import InsufficientTokens, NotFound
from itlc.stores import postgres
from itlc.wallet import ledger
from itlc.wallet.model import (
    FORFEIT,
    MAX_TOKENS,
    TOPUPS,
    BalanceFull,
    EscrowNotHeld,
    Move,
    account_of,
    escrow_of,
)
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.support.market import member
from tests.support.stack import Stores

ESCROW = escrow_of(uuid.UUID(int=1), 1)
OTHER = escrow_of(uuid.UUID(int=1), 2)


@pytest.fixture
def ada(stores: Stores) -> int:
    """Ada's id; she has 100 tokens."""
    user_id = member("Ada").user_id
    assert user_id is not None
    make(Move("topup:1", "topup", TOPUPS, account_of(user_id), 100, topup_id=1))
    return user_id


@pytest.fixture
def bob(ada: int) -> int:
    """Bob's id; he has none."""
    user_id = member("Bob").user_id
    assert user_id is not None
    return user_id


def make(*moves: Move) -> list[Any]:
    """Make these transfers in one transaction."""
    return postgres.users.write(lambda db: ledger.transfer(db, *moves))


def balances(stores: Stores) -> list[int]:
    """What everybody has, by id."""
    return [row["tokens"] for row in stores.rows("itlc_users", "SELECT tokens FROM users ORDER BY id")]


def test_both_sides_are_on_the_row(ada: int, bob: int, stores: Stores) -> None:
    (row,) = make(Move("refund:1", "refund", account_of(ada), account_of(bob), 30, order_id=5))
    assert (row.debit_user_id, row.debit_balance, row.credit_user_id, row.credit_balance) == (ada, 70, bob, 30)
    assert (row.order_id, row.topup_id, row.kind) == (5, None, "refund")
    assert balances(stores) == [70, 30]


def test_a_cause_that_comes_again_gets_the_earlier_row(ada: int, bob: int, stores: Stores) -> None:
    move = Move("refund:1", "refund", account_of(ada), account_of(bob), 30)
    (first,), (again,) = make(move), make(move)
    assert (again.id, again.sequence, again.debit_balance) == (first.id, first.sequence, 70)
    (twice, thrice) = make(move, move)
    assert twice == thrice == first
    assert balances(stores) == [70, 30]


def test_one_that_cannot_be_made_unmakes_those_before_it(ada: int, bob: int, stores: Stores) -> None:
    moves = [Move(f"refund:{number}", "refund", account_of(ada), account_of(bob), 60) for number in range(2)]
    with pytest.raises(InsufficientTokens):
        make(*moves)
    assert balances(stores) == [100, 0]
    assert len(stores.rows("itlc_users", "SELECT * FROM transfers")) == 1


def test_a_balance_has_its_limit(ada: int, stores: Stores) -> None:
    with pytest.raises(BalanceFull):
        make(Move("topup:2", "topup", TOPUPS, account_of(ada), MAX_TOKENS - 99))
    make(Move("topup:3", "topup", TOPUPS, account_of(ada), MAX_TOKENS - 100))
    assert balances(stores) == [MAX_TOKENS]


def test_nobody_unknown_has_an_account(ada: int) -> None:
    with pytest.raises(NotFound):
        make(Move("refund:1", "refund", account_of(ada), account_of(4711), 1))


def test_an_escrow_gives_what_it_got_once(ada: int, bob: int, stores: Stores) -> None:
    with pytest.raises(EscrowNotHeld):
        make(Move("out", "payment", ESCROW, account_of(bob), 40))
    make(Move("in", "payment", account_of(ada), ESCROW, 40))
    for tokens in (39, 41):
        with pytest.raises(EscrowNotHeld):
            make(Move("out", "payment", ESCROW, account_of(bob), tokens))
    make(Move("out", "payment", ESCROW, account_of(bob), 40))
    with pytest.raises(IntegrityError, match="transfers_escrow_settled_once"):
        make(Move("back", "payment", ESCROW, account_of(ada), 40))
    with pytest.raises(IntegrityError, match="transfers_escrow_filled_once"):
        make(Move("in again", "payment", account_of(ada), ESCROW, 40))
    assert balances(stores) == [60, 40]


@pytest.mark.parametrize("tokens", [0, -5])
def test_the_database_takes_only_tokens_above_zero(ada: int, stores: Stores, tokens: int) -> None:
    with pytest.raises(DBAPIError, match="transfers_tokens_positive"):
        make(Move("x", "payment", account_of(ada), OTHER, tokens))
    assert balances(stores) == [100]


@pytest.mark.parametrize(
    "statement", ["UPDATE transfers SET tokens = 1", "DELETE FROM transfers", "TRUNCATE transfers"]
)
def test_the_application_cannot_change_what_was_transferred(ada: int, stores: Stores, statement: str) -> None:
    def change(db: Connection) -> None:
        db.execute(text(statement))

    with pytest.raises(DBAPIError, match="permission denied"):
        postgres.users.write(change)
    assert [row["tokens"] for row in stores.rows("itlc_users", "SELECT tokens FROM transfers")] == [100]


def test_whoever_is_erased_forfeits_what_is_left(ada: int, bob: int, stores: Stores) -> None:
    assert postgres.users.write(lambda db: ledger.forfeit(db, ada)) == 100
    assert postgres.users.write(lambda db: ledger.forfeit(db, ada)) == 0
    assert postgres.users.write(lambda db: ledger.forfeit(db, bob)) == 0
    assert balances(stores) == [0, 0]
    (last,) = stores.rows("itlc_users", "SELECT * FROM transfers WHERE kind = 'forfeit'")
    assert (last["credit_account"], last["tokens"], last["debit_balance"]) == (FORFEIT.name, 100, 0)
    (audited,) = stores.rows("itlc_users", "SELECT * FROM audit")
    assert (audited["action"], audited["object"]) == ("forfeit", f"user:{ada}")
