"""Reconciliation: on a clean world all holds; the run itself, what is kept of it, and who may ask for it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from itlc.errors import StoreAway
from itlc.operation import Deadline
from itlc.stores import mongo, neo4j, postgres
from itlc.system import reconciliation
from itlc.system.findings import MOST_NAMED, NotChecked, Tally
from itlc.system.snapshots import Snapshots

from tests.operations.system.world import NAMES, World
from tests.support.calling import As, run_scheduled
from tests.support.money import holder


def test_on_a_clean_world_everything_holds_and_was_looked_at(world: World) -> None:
    answer = world.admin.call("run_reconciliation")
    assert answer.status == 201, answer.text
    assert [finding["name"] for finding in answer["findings"]] == NAMES
    for finding in answer["findings"]:
        assert finding["state"] == "holds", finding
        assert finding["looked_at"] > 0, finding
        assert (finding["broken"], finding["rows"], finding["remark"]) == (0, [], None), finding
        assert finding["says"].endswith("."), finding
    assert (answer["broken"], answer["not_checked"], answer["made_by"]) == (0, 0, world.admin.user_id)
    assert answer["started_at"] <= answer["finished_at"]
    (audited,) = world.sql("itlc_users", "SELECT * FROM audit WHERE action = 'run_reconciliation'")
    assert (audited["actor_id"], audited["object"]) == (world.admin.user_id, f"reconciliation:{answer['id']}")


def test_it_is_kept_and_listed_newest_first(world: World) -> None:
    ids = [world.admin.call("run_reconciliation")["id"] for _ in range(2)]
    assert run_scheduled("reconcile") == {"broken": 0, "not_checked": 0, "failed": 0}
    pages = list(world.admin.pages("list_reconciliations", query={"limit": 2}))
    assert [len(page) for page in pages] == [2, 1]
    listed = [item for page in pages for item in page]
    assert [item["made_by"] for item in listed] == [None, world.admin.user_id, world.admin.user_id]
    assert [item["id"] for item in listed[1:]] == ids[::-1]
    assert [finding["name"] for finding in listed[0]["findings"]] == NAMES


def errors_told(capsys: pytest.CaptureFixture[str]) -> list[float]:
    """What the job's runs have told the metrics since the last look."""
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return [metric["Errors"][0] for metric in told if metric["service"] == "reconcile"]


def test_a_daily_run_that_finds_something_broken_counts_as_an_error(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run_scheduled("reconcile")
    assert errors_told(capsys) == [0]
    world.sql("itlc_users", "UPDATE users SET tokens = tokens + 1 WHERE id = :id", id=world.bob.user_id)
    found = run_scheduled("reconcile")
    assert found["failed"] == found["broken"] > 0
    assert errors_told(capsys) == [1]
    *_, logged = [record for record in caplog.records if record.name == "reconcile" and record.message == "call"]
    assert (logged.levelname, getattr(logged, "broken", None)) == ("ERROR", found["broken"])


def test_a_daily_run_that_could_not_check_something_counts_as_an_error(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreAway("itlc_tokens")

    monkeypatch.setattr(postgres.tokens, "snapshot", refuse)
    found = run_scheduled("reconcile")
    assert (found["broken"], found["failed"]) == (0, found["not_checked"])
    assert errors_told(capsys) == [1]


@pytest.mark.parametrize("operation", ["run_reconciliation", "list_reconciliations"])
def test_only_administrators_may(world: World, operation: str) -> None:
    assert world.ada.call(operation).status == 403
    assert As().call(operation).status == 401
    assert world.admin.call("run_reconciliation", {"repair": True}).status == 422


def test_of_very_many_rows_all_are_counted_and_the_first_hundred_named(world: World) -> None:
    world.sql(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, amount, status, made_by) "
        "SELECT 1, 1, 'completed', 1 FROM generate_series(1, 2500)",
    )
    finding = world.found()["topup_is_one_transfer"]
    assert (finding["broken"], len(finding["rows"])) == (2500, MOST_NAMED)
    assert finding["looked_at"] == 2500 + 3


@pytest.mark.parametrize("away", ["itlc_tokens", "itlc_orders", "itlc_pbfr", "Neo4j"])
def test_without_a_store_the_others_are_checked(world: World, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreAway(away)

    with monkeypatch.context() as patch:
        match away:
            case "itlc_pbfr":
                patch.setattr(mongo.DocumentStore, "read", refuse)
            case "Neo4j":
                patch.setattr(neo4j.graph, "read", refuse)
            case _:
                database = next(database for database in postgres.DATABASES if database.name == away)
                patch.setattr(database, "snapshot", refuse)
        found = world.found()
    unchecked = {name for name, finding in found.items() if finding["state"] == "not checked"}
    expected = {
        "itlc_tokens": {"topup_is_one_transfer"},
        "itlc_orders": {
            "paid_order_has_one_payment",
            "refunds_are_within_payment",
            "escrow_is_settled_once",
            "escrow_is_settled_in_time",
            "won_bid_has_its_order",
        },
        "itlc_pbfr": {"project_follows_its_orders", "service_rating_follows_ratings"},
        "Neo4j": set(),
    }
    everywhere = {
        "outbox_is_sent_in_time",
        "event_has_one_payload",
        "sent_event_is_consumed",
        "finished_key_has_its_answer",
        "nothing_refers_to_erased",
        "one_notification_per_event",
    }
    in_postgres = {"versions_have_no_gaps"}
    if away in ("itlc_tokens", "itlc_orders"):
        everywhere |= in_postgres
    if away == "itlc_orders":
        everywhere |= {"project_follows_its_orders"}
    assert unchecked == expected[away] | everywhere
    for name in unchecked:
        assert found[name]["remark"] == f"{away} is away"
    for name in set(NAMES) - unchecked:
        assert found[name]["state"] == "holds"


def timeout(deadline: Deadline) -> int:
    """The seconds that the server gives a query of a reconciliation, with so much time."""
    with Snapshots(deadline) as stores:
        shown = "SELECT setting::integer FROM pg_settings WHERE name = 'statement_timeout'"
        return stores.of(postgres.users).number(shown) // 1000


def test_a_query_gets_the_time_that_is_left_and_a_minute_at_most() -> None:
    now = time.monotonic()
    assert timeout(Deadline(now + 900)) == postgres.LONGEST_READ_SECONDS
    assert 0 <= timeout(Deadline(now + 30)) <= 30


def wait_in_vain(stores: Snapshots, tally: Tally) -> None:
    stores.of(postgres.users).number("SELECT count(*) FROM users, pg_sleep(600)")


STUCK = reconciliation.Invariant("stuck", "A query ends.", wait_in_vain)


@pytest.mark.usefixtures("world")
def test_what_there_is_no_time_for_is_not_checked() -> None:
    with Snapshots(Deadline(0)) as stores, pytest.raises(NotChecked, match="no time left"):
        wait_in_vain(stores, Tally())
    with Snapshots(Deadline(time.monotonic() + 1)) as stores:
        finding = reconciliation.check(STUCK, stores)
    assert (finding.state, finding.remark) == ("not checked", "there was no time left for it")


def test_after_a_query_that_takes_too_long_the_next_invariants_are_checked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.snapshots() as stores:
        with monkeypatch.context() as patch:
            patch.setattr(postgres, "LONGEST_READ_SECONDS", 0.1)
            finding = reconciliation.check(STUCK, stores)
        assert (finding.state, finding.remark) == ("not checked", "one of its queries took too long")
        assert world.checked("balance_is_sum_of_transfers", stores) == []


def test_it_reads_and_changes_nothing(world: World) -> None:
    def attempt(write: str) -> Callable[[], Any]:
        def run() -> Any:
            with postgres.users.snapshot() as db:
                return db.exec_driver_sql(write)

        return run

    from sqlalchemy.exc import DBAPIError

    with pytest.raises(DBAPIError) as refused:
        attempt("UPDATE users SET tokens = 0")()
    assert postgres.sqlstate(refused.value) == "25006"  # read_only_sql_transaction


def test_what_changes_while_it_reads_is_not_seen(world: World) -> None:
    with postgres.users.snapshot() as db:
        before = db.exec_driver_sql("SELECT count(*) FROM users").scalar_one()
        holder("Late")
        assert db.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == before
