"""What waits in an outbox: since when it does, and which of two relays gets it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from itlc import events
from itlc.events import Event, event
from itlc.stores import mongo, neo4j, outbox, postgres
from sqlalchemy import Connection, NullPool

from tests.support.stack import Stores
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _no_nudge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent after a commit, as when the queue was away at that moment."""
    monkeypatch.setattr(events, "send_now", lambda emitted, published: None)


def _waiting(count: int) -> list[Event]:
    return [event("notifications", "notice", "order:1", {"message": str(number)}) for number in range(count)]


def _ids(found: list[Event]) -> set[str]:
    return {one.id for one in found}


def test_a_relay_passes_over_what_another_holds_and_waits_for_nobody(stores: Stores) -> None:
    waiting = _waiting(5)
    for one in waiting:
        postgres.orders.write(lambda db, one=one: outbox.emit(db, one))  # type: ignore[misc]
    stores.rows("itlc_orders", "UPDATE outbox SET claimed_until = now() - interval '1 second'")
    engine = postgres.orders._engine(10, poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        connection.info["database"] = postgres.orders
        held = outbox.claim(connection, 2)
        # Who waited for the locks would wait in vain: this transaction ends after the other one.
        others = postgres.orders.write(outbox.claim)
    assert (len(held), len(others)) == (2, 3)
    assert _ids(held) | _ids(others) == _ids(waiting)


def _wait_the_later_the_longer(stores: Stores) -> list[Event]:
    """Four events, of which the one that was written last has waited longest for its turn."""
    waiting = _waiting(4)
    for seconds, one in enumerate(waiting, 1):
        postgres.orders.write(lambda db, one=one: outbox.emit(db, one))  # type: ignore[misc]
        turn = "claimed_until = now() - :seconds * interval '1 second'"
        stores.rows("itlc_orders", f"UPDATE outbox SET {turn} WHERE id = :id", seconds=seconds, id=one.id)
    return waiting


def test_what_has_waited_longest_for_its_turn_has_it_first(stores: Stores) -> None:
    waiting = _wait_the_later_the_longer(stores)

    def claim(db: Connection) -> list[Event]:
        for way in ("indexscan", "bitmapscan"):  # which would come upon them in this order by chance
            db.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        return list(outbox.claim(db, 2))

    assert _ids(postgres.orders.write(claim)) == _ids(waiting[2:])
    assert _ids(postgres.orders.write(claim)) == _ids(waiting[:2])


def test_what_has_its_turn_together_is_sent_as_it_was_written(stores: Stores) -> None:
    waiting = _wait_the_later_the_longer(stores)
    assert [one.id for one in postgres.orders.write(outbox.claim)] == [one.id for one in waiting]


def test_many_that_are_written_twice_wait_once(stores: Stores) -> None:
    waiting = _waiting(2)
    for _ in range(2):
        postgres.orders.write(lambda db: outbox.emit_all(db, waiting))
    assert {str(row["id"]) for row in stores.rows("itlc_orders", "SELECT id FROM outbox")} == _ids(waiting)


def test_a_relay_of_the_graph_looks_again_once_it_has_the_lock(stores: Stores) -> None:
    waiting = _waiting(100)
    for one in waiting:
        neo4j.graph.write(lambda transaction, one=one: transaction.emit(one))  # type: ignore[misc]
    stores.graph("MATCH (o:Outbox) SET o.claimed_until = datetime() - duration({seconds: 1})")
    blocked = "SHOW TRANSACTIONS YIELD status WHERE status STARTS WITH 'Blocked' RETURN status"
    with ThreadPoolExecutor(1) as pool, neo4j.graph.driver.session() as session:
        with session.begin_transaction() as transaction:
            first = neo4j.claim(neo4j.GraphTransaction(transaction))  # type: ignore[arg-type]
            second = pool.submit(neo4j.graph.write, neo4j.claim)
            eventually(lambda: stores.graph(blocked), "the second relay waits for the first one's locks", within=4)
            transaction.commit()
        assert _ids(first) == _ids(waiting)
        assert second.result(timeout=30) == []


def test_what_is_written_twice_waits_once_as_it_was_written_first(stores: Stores) -> None:
    (one,) = _waiting(1)
    postgres.orders.write(lambda db: outbox.emit(db, one))
    stores.rows("itlc_orders", "UPDATE outbox SET published_at = now()")
    before = stores.rows("itlc_orders", "SELECT * FROM outbox")
    postgres.orders.write(lambda db: outbox.emit(db, replace(one, payload={"message": "another"})))
    assert stores.rows("itlc_orders", "SELECT * FROM outbox") == before


def test_what_is_to_be_sent_again_waits_from_then_on(stores: Stores) -> None:
    (one,) = _waiting(1)
    postgres.orders.write(lambda db: outbox.emit(db, one))
    stores.rows("itlc_orders", "UPDATE outbox SET published_at = now(), created_at = now() - interval '1 hour'")
    postgres.orders.write(lambda db: outbox.emit_again(db, one))
    (row,) = stores.rows(
        "itlc_orders", "SELECT published_at, created_at > now() - interval '1 minute' AS new FROM outbox"
    )
    assert row == {"published_at": None, "new": True}


def test_an_event_in_a_document_waits_by_the_clock_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo, "_clock_behind", lambda: timedelta(minutes=10))
    (one,) = _waiting(1)
    assert mongo.outbox_entry(one)["created_at"] > datetime.now(UTC) + timedelta(minutes=9)


def told(stores: Stores, database: str, user_id: int, count: int, *, published: bool = True) -> None:
    """As many notices, which tell that user and another one."""
    stores.rows(
        database,
        "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) SELECT gen_random_uuid(), "
        "'notifications', 'notice', 'order:1', jsonb_build_object('user_ids', jsonb_build_array(CAST(:id AS int), n)), "
        "CASE WHEN :published THEN now() END FROM generate_series(1001, 1000 + :count) n",
        id=user_id,
        count=count,
        published=published,
    )


@pytest.mark.parametrize("database", postgres.DATABASES, ids=lambda database: database.name)
def test_what_somebody_was_told_goes_in_batches_found_by_whom_it_told(
    stores: Stores, database: postgres.Database
) -> None:
    told(stores, database.name, 7, 3)
    told(stores, database.name, 7, 1, published=False)
    told(stores, database.name, 8, 5_000)
    stores.rows(
        database.name,
        "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) "
        "VALUES (gen_random_uuid(), 'topups', 'credit', 'topup:1', '{\"user_ids\": [7]}', now())",
    )
    stores.rows(database.name, "ANALYZE outbox")

    def uses() -> int:
        """How often the index was used, as far as the server has counted it yet."""
        asked = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_notices'"
        return int(stores.rows(database.name, asked)[0]["idx_scan"])

    before = uses()
    assert [database.write(lambda db: outbox.forget_notices(db, 7, 2)) for _ in range(3)] == [2, 1, 0]
    left = "SELECT queue, published_at IS NULL AS waits FROM outbox WHERE payload -> 'user_ids' -> 0 = '7' ORDER BY 1"
    assert stores.rows(database.name, left) == [
        {"queue": "notifications", "waits": True},
        {"queue": "topups", "waits": False},
    ]
    assert stores.rows(database.name, "SELECT count(*) AS rows FROM outbox") == [{"rows": 5_002}]
    database.write(lambda db: db.exec_driver_sql("SELECT pg_stat_force_next_flush()"))  # or it tells after 10 seconds
    eventually(lambda: uses() >= before + 3, "each batch was found by the index", within=10)


def test_what_somebody_was_told_by_the_graph_goes_a_page_at_a_time(stores: Stores) -> None:
    told: dict[str, dict[str, list[Any]]] = {
        "a": {"user_ids": [7, 9], "emails": []},
        "b": {"user_ids": [9], "emails": ["ada@example.org"]},
        "c": {"user_ids": [9], "emails": ["bob@example.org"]},
        "d": {"user_ids": [7], "emails": []},
    }
    for moment in ("2026-11-23T20:36:10Z", "2026-11-23T20:36:11Z"):  # several are sent at the same moment
        for name, whom in told.items():
            stores.graph(
                "CREATE (:SentEvent {id: $id, published_at: datetime($at), user_ids: $user_ids, emails: $emails})",
                id=f"{name} {moment}",
                at=moment,
                **whom,
            )
    pages = []
    place: neo4j.Place | None = neo4j.BEFORE_ALL
    while place is not None:
        forget = partial(neo4j.forget_notices, user_id=7, emails=["Ada@Example.org"], after=place, limit=3)
        place = neo4j.graph.write(forget)
        pages.append(place and place[1][0])
    assert pages == ["c", "b", "d", None]
    assert {row["id"][0] for row in stores.graph("MATCH (e:SentEvent) RETURN e.id AS id")} == {"c"}


def test_a_page_of_what_the_graph_has_sent_is_walked_along_an_index(all_stores: Stores) -> None:
    at, id = neo4j.BEFORE_ALL
    with all_stores.neo4j.session() as session:
        asked = {"user_id": 7, "emails": [], "at": at, "id": id, "limit": 3}
        plan = session.run(f"EXPLAIN {neo4j.FORGET_NOTICES_OF_PAGE}", asked).consume().plan

    def operators(part: Any) -> set[str]:
        return {part["operatorType"].partition("@")[0]}.union(*map(operators, part.get("children", [])))

    assert "NodeIndexSeekByRange" in operators(plan), operators(plan)
    assert "PartialTop" in operators(plan), "the index gives the order, too"
