"""The embedded stack as its users see it: it comes up, heals after a kill, and goes without a trace."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import neo4j
import pg8000.exceptions
import pg8000.native
import psutil
import pymongo
import pytest

from infra.local import process
from infra.local.migrate import migrate
from infra.local.stack import EXTERNAL, Endpoints, Stack, StackError

ROOT = Path(__file__).resolve().parents[3]


def quiet(_: str) -> None:
    """Swallow progress."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of this file's own."""
    with pytest.MonkeyPatch.context() as environment:
        for name in EXTERNAL.values():
            environment.delenv(name, raising=False)
        stack = Stack(tmp_path_factory.mktemp("stack"), durable=False)
        yield stack
        stack.clean()


@pytest.fixture
def endpoints(stack: Stack) -> Endpoints:
    """The stack, up."""
    return stack.up(quiet)


def connect(url: str, database: str | None = None) -> pg8000.native.Connection:
    """A connection with the user and password of `url`, to its own database or to another."""
    address = urlsplit(url)
    return pg8000.native.Connection(
        str(address.username),
        host=str(address.hostname),
        port=int(address.port or 0),
        password=str(address.password),
        database=database or address.path.strip("/"),
    )


def neo4j_driver(endpoints: Endpoints) -> neo4j.Driver:
    return neo4j.GraphDatabase.driver(endpoints.neo4j_uri, auth=(endpoints.neo4j_user, endpoints.neo4j_password))


def kill(pid: int | None) -> None:
    """Kill the process as a crash would, and wait until it is gone."""
    assert pid is not None
    victim = psutil.Process(pid)
    found = process.ProcessId(pid, victim.create_time())
    os.kill(pid, signal.SIGKILL)
    assert process.wait_for_end(found, 10)


def of_stack(stack: Stack) -> list[psutil.Process]:
    """Every running process that carries the stack's mark."""
    found = []
    for candidate in psutil.process_iter():
        try:
            marked = candidate.environ().get(process.MARK) == str(stack.state_dir)
            if marked and candidate.status() != psutil.STATUS_ZOMBIE:
                found.append(candidate)
        except psutil.Error:
            continue
    return found


def test_second_up_starts_nothing(stack: Stack, endpoints: Endpoints) -> None:
    lines: list[str] = []
    assert Stack(stack.state_dir, durable=False).up(lines.append) == endpoints
    assert lines == []
    assert all(endpoints.pids.values())


def test_two_ups_at_once_start_one_stack(stack: Stack, endpoints: Endpoints) -> None:
    kill(endpoints.pids["aws"])
    with ThreadPoolExecutor(2) as pool:
        ups = [pool.submit(Stack(stack.state_dir, durable=False).up, quiet) for _ in range(2)]
        first, second = (up.result() for up in ups)
    assert first == second
    assert first.pids["aws"] != endpoints.pids["aws"]
    assert first.pids["postgres"] == endpoints.pids["postgres"]
    assert first.aws_endpoint == endpoints.aws_endpoint, "the port is reused"


@pytest.mark.parametrize("down", [False, True], ids=["up", "down and up"])
def test_what_was_in_the_queues_of_a_killed_emulator_is_sent_again_once(
    stack: Stack, endpoints: Endpoints, down: bool
) -> None:
    migrate(endpoints, quiet)
    sent = (
        "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) "
        "VALUES (gen_random_uuid(), 'notifications', 'notice', 'order:1', '{}', now() - interval '2 days')"
    )
    with closing(connect(endpoints.postgres["itlc_orders"].owner_url)) as database:
        database.run("DELETE FROM outbox")
        database.run(sent)
    kill(endpoints.pids["aws"])
    if down:
        stack.down()
    lines: list[str] = []
    stack.up(lines.append)
    told = "AWS emulator: its queues were lost; 1 events that nobody had consumed are sent again"
    assert lines.count(told) == 1
    stack.up(lines.append)
    assert lines.count(told) == 1


def test_an_emulator_that_was_ended_keeps_its_queues(stack: Stack, endpoints: Endpoints) -> None:
    migrate(endpoints, quiet)
    stack.down()
    lines: list[str] = []
    stack.up(lines.append)
    assert not any("sent again" in line for line in lines)


def test_postgres_killed_keeps_what_it_acknowledged(stack: Stack, endpoints: Endpoints) -> None:
    with closing(connect(endpoints.postgres["itlc_orders"].owner_url)) as connection:
        connection.run("CREATE TABLE kept (id int)")
        connection.run("INSERT INTO kept SELECT generate_series(1, 1000)")
        kill(endpoints.pids["postgres"])
    healed = stack.up(quiet)
    assert healed.pids["postgres"] != endpoints.pids["postgres"]
    assert healed.pids["neo4j"] == endpoints.pids["neo4j"]
    with closing(connect(healed.postgres["itlc_orders"].owner_url)) as connection:
        assert connection.run("SELECT count(*) FROM kept") == [[1000]]
        connection.run("DROP TABLE kept")


def test_mongodb_killed_keeps_what_it_acknowledged(stack: Stack, endpoints: Endpoints) -> None:
    with pymongo.MongoClient[dict[str, int]](endpoints.mongodb_url) as client:
        kept = client.get_default_database()["kept"]
        for number in range(100):
            kept.insert_one({"_id": number})
        kill(endpoints.pids["mongodb"])
    healed = stack.up(quiet)
    with pymongo.MongoClient[dict[str, int]](healed.mongodb_url) as client:
        assert client["itlc_pbfr"]["kept"].count_documents({}) == 100


def test_neo4j_killed_keeps_what_it_acknowledged(stack: Stack, endpoints: Endpoints) -> None:
    with neo4j_driver(endpoints) as driver:
        driver.execute_query("UNWIND range(1, 100) AS n CREATE (:Kept {n: n})", database_=endpoints.neo4j_database)
        kill(endpoints.pids["neo4j"])
    healed = stack.up(quiet)
    assert healed.neo4j_uri == endpoints.neo4j_uri
    with neo4j_driver(healed) as driver:
        answer = driver.execute_query("MATCH (k:Kept) RETURN count(k) AS kept", database_=healed.neo4j_database)
        assert answer.records[0]["kept"] == 100


def test_a_role_enters_its_own_database_only(endpoints: Endpoints) -> None:
    for kind in ("owner_url", "app_url"):
        url = getattr(endpoints.postgres["itlc_tokens"], kind)
        with closing(connect(url)) as connection:
            assert connection.run("SELECT current_database()") == [["itlc_tokens"]]
        for other in (*(name for name in endpoints.postgres if name != "itlc_tokens"), "postgres"):
            with pytest.raises(pg8000.exceptions.DatabaseError) as refusal:
                connect(url, database=other)
            assert refusal.value.args[0]["C"] == "42501", f"{kind} in {other}"


def test_the_application_role_is_bounded(endpoints: Endpoints) -> None:
    with closing(connect(endpoints.postgres["itlc_users"].app_url)) as connection:
        for setting, value in {
            "statement_timeout": "5s",
            "lock_timeout": "3s",
            "idle_in_transaction_session_timeout": "10s",
            "max_connections": "500",
        }.items():
            assert connection.run(f"SHOW {setting}") == [[value]]
        with pytest.raises(pg8000.exceptions.DatabaseError, match="permission denied"):
            connection.run("CREATE TABLE mine (id int)")


def test_everything_listens_on_loopback_only(stack: Stack, endpoints: Endpoints) -> None:
    assert endpoints.pids
    addresses = {
        connection.laddr.ip
        for running in of_stack(stack)
        for connection in running.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert addresses


def test_the_record_is_for_its_owner_only(stack: Stack, endpoints: Endpoints) -> None:
    record = stack.state_dir / "stack.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert endpoints.neo4j_password in record.read_text()


def itlc(*arguments: str, state_dir: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command `itlc` on the stack in `state_dir`."""
    return subprocess.run(
        [Path(sys.executable).with_name("itlc"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "ITLC_STATE_DIR": str(state_dir)},
    )


def test_status_prints_the_operators_contract(stack: Stack, endpoints: Endpoints) -> None:
    answer = itlc("status", "--json", state_dir=stack.state_dir)
    assert answer.returncode == 0, answer.stderr
    printed = json.loads(answer.stdout)
    assert set(printed) == {
        *("api_url", "docs_url", "aws_endpoint", "region", "postgres", "mongodb", "neo4j", "queues", "pids"),
        "state_dir",
    }
    assert printed["pids"] == dict(endpoints.pids)
    assert printed["postgres"] == {name: pair.owner_url for name, pair in endpoints.postgres.items()}
    assert set(printed["neo4j"]) == {"uri", "user", "password", "database"}


def test_status_of_nothing_fails_and_says_what_to_do(tmp_path: Path) -> None:
    answer = itlc("status", "--json", state_dir=tmp_path / "none")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "PostgreSQL is not up" in answer.stderr
    assert "itlc up" in answer.stderr


@pytest.mark.parametrize("command", [[], ["up"], ["down"], ["status"], ["logs"]])
def test_every_command_explains_itself(command: list[str], tmp_path: Path) -> None:
    answer = itlc(*command, "--help", state_dir=tmp_path)
    assert answer.returncode == 0
    assert "Usage: itlc" in answer.stdout


def test_a_server_that_is_named_but_absent_is_reported(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> None:
    port = process.free_port()
    stack.up(quiet)
    monkeypatch.setenv("ITLC_POSTGRES_URL", f"postgresql://postgres:secret@127.0.0.1:{port}/postgres")
    with pytest.raises(StackError) as failure:
        stack.up(quiet)
    assert failure.value.part == "postgres"
    assert f"127.0.0.1:{port}" in failure.value.why
    assert "ITLC_POSTGRES_URL" in failure.value.what_to_do
    assert "secret" not in str(failure.value)


def test_another_postgres_can_take_its_place(
    monkeypatch: pytest.MonkeyPatch, stack: Stack, endpoints: Endpoints, tmp_path: Path
) -> None:
    """All four servers of one stack serve another, which starts nothing and gets roles of its own password."""
    monkeypatch.setenv("ITLC_POSTGRES_URL", endpoints.postgres_admin_url)
    monkeypatch.setenv("ITLC_MONGODB_URL", endpoints.mongodb_url)
    bolt = endpoints.neo4j_uri.replace("bolt://", f"bolt://{endpoints.neo4j_user}:{endpoints.neo4j_password}@")
    monkeypatch.setenv("ITLC_NEO4J_URL", bolt)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoints.aws_endpoint)
    guest = Stack(tmp_path / "guest")
    borrowed = guest.up(quiet)
    assert set(borrowed.pids.values()) == {None}
    assert borrowed.neo4j_uri == endpoints.neo4j_uri
    assert all(part.running and part.external for part in guest.status())
    with closing(connect(borrowed.postgres["itlc_api"].app_url)) as connection:
        assert connection.run("SELECT current_user") == [["itlc_api_app"]]
    assert guest.down() == []
    for name in EXTERNAL.values():
        monkeypatch.delenv(name)
    # The roles' passwords are the guest's now; the next `up` of the owner sets its own again.
    with closing(connect(stack.up(quiet).postgres["itlc_api"].app_url)) as connection:
        assert connection.run("SELECT 1") == [[1]]


def test_down_leaves_no_process_and_keeps_the_data(stack: Stack, endpoints: Endpoints) -> None:
    with closing(connect(endpoints.postgres["itlc_api"].owner_url)) as connection:
        connection.run("CREATE TABLE remembered AS SELECT 1 AS one")
    assert set(endpoints.pids.values()) <= {running.pid for running in of_stack(stack)}
    assert sorted(stack.down()) == ["aws", "mongodb", "neo4j", "postgres"]
    assert of_stack(stack) == []
    assert not any(part.running for part in stack.status())
    again = stack.up(quiet)
    assert again.postgres_admin_url == endpoints.postgres_admin_url, "port and password stay"
    with closing(connect(again.postgres["itlc_api"].owner_url)) as connection:
        assert connection.run("SELECT one FROM remembered") == [[1]]
    stack.clean()
    assert of_stack(stack) == []
    assert not (stack.state_dir / "data").exists()
