"""What a connection costs, and what becomes of it when the server ends it in the midst of its use."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pg8000.core
import pg8000.legacy
import pytest
from itlc.errors import StoreAway
from itlc.events import Event, event
from itlc.stores import outbox, postgres
from sqlalchemy import Connection, NullPool

from tests.support.queues import receive_all
from tests.support.stack import Stores
from tests.support.waiting import eventually


def test_a_read_costs_its_own_round_trip_and_no_other(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.users.read() as db:
        db.exec_driver_sql("SELECT 1")
    asked = _asked(monkeypatch)
    with postgres.users.read() as db:
        db.exec_driver_sql("SELECT 2")
    assert asked == ["SELECT 2"]


def test_a_snapshot_costs_no_round_trips_but_what_makes_it_one(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.users.snapshot() as db:
        db.exec_driver_sql("SELECT 1")
    asked = _asked(monkeypatch)
    with postgres.users.snapshot() as db:
        db.exec_driver_sql("SELECT 2")
    assert asked == ["begin transaction", postgres.WHOLE, *postgres.LIMITS_OF_A_SNAPSHOT, "SELECT 2", "rollback"]


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is sent to PostgreSQL from now on."""
    asked: list[str] = []

    def counted(ask: Callable[..., Any]) -> Callable[..., Any]:
        def call(connection: Any, statement: str, *rest: Any, **named: Any) -> Any:
            asked.append(statement)
            return ask(connection, statement, *rest, **named)

        return call

    for name in ("execute_simple", "execute_unnamed"):
        monkeypatch.setattr(pg8000.core.CoreConnection, name, counted(getattr(pg8000.core.CoreConnection, name)))
    return asked


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


# Transactions that end otherwise than by their commit


ADD = "INSERT INTO template_store (name, description, type) VALUES ('a', 'b', 'service')"


def _added(stores: Stores) -> int:
    (row,) = stores.rows("itlc_templates", "SELECT count(*) AS rows FROM template_store")
    return int(row["rows"])


def test_a_commit_whose_answer_is_lost_is_not_made_again(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    really_commit: Callable[[Any], None] = pg8000.legacy.Connection.commit

    def commit(connection: Any) -> None:
        really_commit(connection)
        raise ConnectionResetError("the server's answer is lost")

    runs: list[int] = []

    def work(db: Connection) -> None:
        db.exec_driver_sql(ADD)
        runs.append(len(runs))

    with monkeypatch.context() as patched:
        patched.setattr(pg8000.legacy.Connection, "commit", commit)
        with pytest.raises(StoreAway):
            postgres.templates.write(work)
    assert (runs, _added(stores)) == ([0], 1)


def test_a_connection_that_dies_before_the_commit_is_replaced_once(stores: Stores) -> None:
    runs: list[int] = []

    def work(db: Connection, *, well_from: int) -> None:
        db.exec_driver_sql(ADD)
        runs.append(len(runs))
        if len(runs) < well_from:
            stores.disconnect("itlc_templates_app")
        db.exec_driver_sql("SELECT 1")

    postgres.templates.write(partial(work, well_from=2))
    assert (runs, _added(stores)) == ([0, 1], 1)
    runs.clear()
    with pytest.raises(StoreAway):
        postgres.templates.write(partial(work, well_from=9))
    assert (runs, _added(stores)) == ([0, 1], 1)


def test_a_transaction_whose_answer_does_not_come_in_time_is_not_made_again(stores: Stores) -> None:
    runs: list[int] = []

    def work(db: Connection) -> None:
        runs.append(len(runs))
        driver: Any = db.connection.dbapi_connection
        driver._usock.settimeout(0.1)
        db.exec_driver_sql("SELECT pg_sleep(1)")

    with pytest.raises(StoreAway):
        postgres.templates.write(work)
    assert runs == [0]
    postgres.templates.ping()  # or the next test would be told that the server is down


def test_who_waits_too_long_for_a_lock_is_told_to_come_back(stores: Stores) -> None:
    stores.rows("itlc_templates", ADD)
    engine = postgres.templates._engine(10, poolclass=NullPool)

    def work(db: Connection) -> None:
        db.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        db.exec_driver_sql("UPDATE template_store SET name = 'b'")

    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE template_store SET name = 'c'")
        with pytest.raises(StoreAway):
            postgres.templates.write(work)


@pytest.mark.parametrize("state", ["40001", "40P01"], ids=["serialization failure", "deadlock"])
def test_after_a_clash_all_of_the_work_is_done_again_and_only_its_last_events_are_sent(
    stores: Stores, state: str
) -> None:
    made: list[Event] = []

    def work(db: Connection) -> str:
        db.exec_driver_sql(ADD)
        made.append(event("notifications", "notice", "template:1", {"message": str(len(made))}))
        outbox.emit(db, made[-1])
        if len(made) == 1:
            db.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'they clash' USING ERRCODE = '{state}'; END $$")
        return made[-1].id

    receive_all("notifications")
    assert postgres.templates.write(work) == made[1].id
    assert (len(made), _added(stores)) == (2, 1)
    assert [json.loads(body)["id"] for body in receive_all("notifications")] == [made[1].id]
    assert [str(row["id"]) for row in stores.rows("itlc_templates", "SELECT id FROM outbox")] == [made[1].id]
