"""What a connection costs, and what becomes of it when the server ends it in the midst of its use."""

from collections.abc import Callable
from typing import Any

import pg8000.core
import pytest
from itlc.errors import StoreAway
from itlc.stores import postgres
from sqlalchemy import Connection

from tests.support.stack import Stores
from tests.support.waiting import eventually


def test_a_read_costs_its_own_round_trip_and_no_other(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.users.read() as db:
        db.exec_driver_sql("SELECT 1")
    asked: list[str] = []

    def counted(ask: Callable[..., Any]) -> Callable[..., Any]:
        def call(connection: Any, statement: str, *rest: Any, **named: Any) -> Any:
            asked.append(statement)
            return ask(connection, statement, *rest, **named)

        return call

    for name in ("execute_simple", "execute_unnamed"):
        monkeypatch.setattr(pg8000.core.CoreConnection, name, counted(getattr(pg8000.core.CoreConnection, name)))
    with postgres.users.read() as db:
        db.exec_driver_sql("SELECT 2")
    assert asked == ["SELECT 2"]


def test_writes_are_transactions_again_after_a_read(stores: Stores) -> None:
    with postgres.users.read() as db:
        db.exec_driver_sql("SELECT 1")

    def half(db: Connection) -> None:
        db.exec_driver_sql("INSERT INTO users (name, email, password) VALUES ('Ada', 'ada@example.org', 'none')")
        raise LookupError

    with pytest.raises(LookupError):
        postgres.users.write(half)
    assert stores.rows("itlc_users", "SELECT * FROM users") == []


def _disconnect(stores: Stores) -> None:
    assert stores.disconnect("itlc_users_app") >= 1
    left = "SELECT 1 FROM pg_stat_activity WHERE usename = 'itlc_users_app'"
    eventually(lambda: not stores.rows("itlc_users", left), "the server has ended the connections")


def test_a_connection_that_ends_after_its_answer_harms_nobody(stores: Stores) -> None:
    with postgres.users.read() as db:
        assert db.exec_driver_sql("SELECT 1").scalar_one() == 1
        _disconnect(stores)
    with postgres.users.read() as db:
        assert db.exec_driver_sql("SELECT 2").scalar_one() == 2


def test_a_snapshot_that_is_lost_says_that_the_store_is_away(stores: Stores) -> None:
    def lose() -> None:
        with postgres.users.snapshot() as db:
            db.exec_driver_sql("SELECT 1")
            _disconnect(stores)

    with pytest.raises(StoreAway):
        lose()
