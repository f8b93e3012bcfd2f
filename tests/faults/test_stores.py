"""A store that goes away and comes back: who needs it is told so at once, nobody else notices, and nothing is lost.

Each case is a stream of requests before, during and after an outage, all served by this one process, which is never
started anew. Whatever was acknowledged is there afterwards, once; whatever was refused is there once it was repeated
with its key; money and every other invariant hold.
"""

import socket
import statistics
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pg8000.exceptions
import pg8000.native
import pytest
from itlc.aws import client
from itlc.errors import StoreAway
from sqlalchemy import make_url

from infra.local.process import LOOPBACK
from tests.faults.aftermath import all_holds, let_time_pass, recover
from tests.faults.clocks import ask_under, run_under
from tests.faults.outage import APART, NEEDED, SERVERS, Ask, Network, Sent, Stream, network, start_anew
from tests.faults.scale import FULL
from tests.support.calling import nobody, run_scheduled
from tests.support.racing import at_once
from tests.support.stack import Stores
from tests.support.waiting import eventually

RECOVERY_SECONDS = 30
WAYS = ("killed", "frozen", "refused", "swallowed")
OUTAGES = [(server, how) for server in SERVERS for how in WAYS]
SHARE = [("postgres", "frozen"), ("mongodb", "killed"), ("neo4j", "frozen")]
"""Servers that accept connections and say nothing are the hardest to tell from those that are only slow."""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """A stack of this file's own, reached through proxies."""
    with network() as made:
        yield made


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("server", "how"), OUTAGES if FULL else SHARE)
def test_an_outage_is_told_at_once_and_loses_nothing(net: Network, server: str, how: str) -> None:
    stream = Stream(f"{server}-{how}")
    begin(stream)
    net.break_down(server, how)
    try:
        rounds = [stream.flow(), stream.flow()]
        eventually(away, "readiness tells", holds=lambda found: found == expected_away(net, server), within=20)
        for ask in stream.waiting:
            ask.send()  # which may be the one that tries for all
            at_once = [ask.send() for _ in range(5)]
            assert statistics.median(sent.seconds for sent in at_once) < 1
            rounds.append(at_once)
        rounds.append(stream.flow())
    finally:
        net.heal(server, how)
    took = stream.flows_again(within=RECOVERY_SECONDS)
    assert refused_in(rounds) == NEEDED[server]
    tell(server, how, rounds, took)
    nothing_is_lost(net, stream)


def begin(stream: Stream) -> None:
    """See that all is well, and that this worker has fetched every secret."""
    stream.flows_again(within=RECOVERY_SECONDS)
    eventually(away, "it is ready", holds=lambda found: found == [], within=RECOVERY_SECONDS)


def nothing_is_lost(net: Network, stream: Stream) -> None:
    """Assert that everything is up again, without anything having been started anew, and that everything is there."""
    eventually(away, "it is ready", holds=lambda found: found == [], within=RECOVERY_SECONDS)
    eventually(queues_answer, "the queues' circuit is closed", within=RECOVERY_SECONDS)
    stores = net.stores
    recover(stores)
    stream.all_there_once(stores)
    all_holds(stores)


@pytest.mark.skipif(not FULL, reason="waits for outages for a minute: `make faults` runs it")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["refused", "swallowed"])
def test_one_database_that_is_away_takes_no_other_along(net: Network, how: str) -> None:
    stream = Stream(f"apart-{how}")
    begin(stream)
    net.break_down(APART, how)
    try:
        rounds = [stream.flow(), stream.flow()]
        eventually(away, "readiness tells", holds=lambda found: found == [APART], within=20)
    finally:
        net.heal(APART, how)
    tell(APART, how, rounds, stream.flows_again(within=RECOVERY_SECONDS))
    assert refused_in(rounds) == {"top_up"}
    nothing_is_lost(net, stream)


@pytest.mark.skipif(not FULL, reason="waits for outages for a minute: `make faults` runs it")
@pytest.mark.timeout(300)
def test_a_server_without_a_free_connection_is_told_and_waited_for(net: Network) -> None:
    stream = Stream("full")
    begin(stream)
    start_anew()  # a worker that has its connections already does not notice
    with all_connections_taken(net):
        rounds = [stream.flow(), stream.flow()]
        eventually(away, "readiness tells", holds=lambda found: found == [*net.direct.postgres], within=20)
    took = stream.flows_again(within=RECOVERY_SECONDS)
    assert refused_in(rounds) == NEEDED["postgres"]
    quickly = statistics.median(sent.seconds for sent in chain(*rounds) if not sent.acknowledged)
    assert quickly < 1, "that there is none is said at once"
    tell("postgres", "full", rounds, took)
    nothing_is_lost(net, stream)


@contextmanager
def all_connections_taken(net: Network) -> Iterator[None]:
    """Every connection that PostgreSQL has for an application is taken, by clients that begin to log in."""
    fields = b"user\0itlc_users_app\0database\0itlc_users\0\0"
    hello = struct.pack("!ii", 8 + len(fields), 196_608) + fields
    with ExitStack() as taken:
        for _ in range(520):
            client = taken.enter_context(closing(socket.create_connection((LOOPBACK, net.ports["postgres"]))))
            client.sendall(hello)
        eventually(lambda: log_in(net) == "53300", "there are too many clients", within=RECOVERY_SECONDS)
        yield


def log_in(net: Network) -> str:
    """Log in as a function does; returns the SQLSTATE of the refusal, nothing when there was none."""
    url = make_url(net.direct.postgres["itlc_users"].app_url)
    try:
        pg8000.native.Connection(
            str(url.username), host=LOOPBACK, port=url.port or 0, password=url.password, database=url.database
        ).close()
    except pg8000.exceptions.DatabaseError as error:
        return str(error.args[0]["C"])
    return ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("minutes", (10, -10) if FULL else (10,))
def test_a_worker_whose_clock_is_wrong_loses_and_doubles_nothing(net: Network, minutes: int) -> None:
    stream = Stream(f"clock{minutes}")
    stores = net.stores
    (service,) = stores.rows("itlc_orders", "SELECT service_id FROM orders WHERE id = :id", id=stream.payable[0])
    review = Ask(stream.ada, "write_review", {"service_id": service["service_id"], "review": "Well dug."})
    asks = [*stream.new(), review]
    net.proxies["aws"].refuse()  # so the events wait for the relay, whose clock is right
    (answers,) = at_once(ask_under, [(minutes * 60, asks)])
    net.proxies["aws"].pass_on()
    assert [answer.status // 100 for answer in answers] == [2] * len(asks), [answer.text for answer in answers]

    for ask, first in zip(asks, answers, strict=True):
        again = ask.send().response
        settled = first.status == 202 and ask.operation == "pay_order"
        assert (again.text == first.text and again.headers.get("Idempotency-Replayed") == "true") or settled

    let_time_pass(stores, 1)
    eventually(queues_answer, "the queues' circuit is closed", within=RECOVERY_SECONDS)
    assert run_scheduled("relay_outbox")["failed"] == 0
    assert waiting(stores) == [], "what was written is sent a minute later"

    # And the other way round: what was written by a clock that is right is looked after by one that is wrong.
    net.proxies["aws"].refuse()
    stream.flow()
    net.proxies["aws"].pass_on()
    jobs = ("relay_outbox", "resume_payments", "expire_topups", "expire_bids", "purge_expired")
    at_once(run_under, [(minutes * 60, jobs)])
    nothing_is_lost(net, stream)
    reviews = stores.documents("reviews", {"user_id": stream.ada.user_id})
    assert len(reviews) == 1


@pytest.mark.skipif(not FULL, reason="fills a disk on a stack of its own, for minutes: `make faults` runs it")
@pytest.mark.timeout(600)
def test_a_disk_that_is_full_is_told_and_loses_nothing(
    net: Network, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    # Neo4j's disk is another one: its recovery fails on what it wrote last before its disk was full.
    net.stores.graph("MATCH (n) WHERE NOT n:Migration DETACH DELETE n")
    user = f"{net.direct.neo4j_user}:{net.direct.neo4j_password}@"
    with network(ITLC_NEO4J_URL=net.direct.neo4j_uri.replace("://", f"://{user}")) as net:
        stream = Stream("disk", orders=60)
        begin(stream)
        rounds: list[list[Sent]] = []
        with filled(small_disk):
            while len(rounds) < 50 and not {"pay_order", "create_project"} <= refused_in(rounds):
                rounds.append(stream.flow())
        assert {"pay_order", "create_project"} <= refused_in(rounds)
        net.start_what_is_down()
        tell("all", "full disk", rounds, stream.flows_again(within=RECOVERY_SECONDS))
        for server in ("postgres", "mongodb"):  # what was acknowledged was written
            net.break_down(server, "killed")
            net.heal(server, "killed")
        stream.flows_again(within=RECOVERY_SECONDS)
        nothing_is_lost(net, stream)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with little room, in memory. Skips the test where none may be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=320m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # noqa: S607


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """The disk is full, to the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"0" * size)
        yield
    filler.unlink()


def refused_in(rounds: list[list[Sent]]) -> set[str]:
    """The operations that were refused."""
    return {sent.ask.operation for sent in chain(*rounds) if not sent.acknowledged}


def waiting(stores: Stores) -> list[Any]:
    """The events that wait in any of the seven stores."""
    found: list[Any] = []
    for name in stores.postgres:
        found += stores.rows(name, "SELECT * FROM outbox WHERE published_at IS NULL")
    for collection in ("projects", "reviews", "ratings", "blogs", "faqs", "bookkeeping"):
        found += stores.documents(collection, {"outbox.0": {"$exists": True}})
    return found + stores.graph("MATCH (o:Outbox) RETURN o.id")


def away() -> list[str]:
    """What `GET /ready` says is away."""
    ready = nobody.call("show_readiness")
    found = [name for name, state in {**ready["stores"], **ready["queues"]}.items() if state == "away"]
    assert ready.status == (503 if found else 200)
    return found


def queues_answer() -> bool:
    """Whether this worker speaks to the queues."""
    try:
        client("sqs").list_queues(MaxResults=1)
    except StoreAway:
        return False
    return True


def expected_away(net: Network, server: str) -> list[str]:
    """What is away with a server."""
    if server == "aws":
        return list(nobody.call("show_readiness")["queues"])
    return {"postgres": list(net.direct.postgres), "mongodb": ["itlc_pbfr"], "neo4j": ["neo4j"]}[server]


def tell(server: str, how: str, rounds: list[list[Sent]], recovery: float) -> None:
    """Print the figures, for `pytest -s`."""
    refused = [sent.seconds for sent in chain(*rounds) if not sent.acknowledged]
    served = [sent.seconds for sent in chain(*rounds) if sent.acknowledged]
    first = (
        f"first 503 {refused[0]:.2f} s, then median {statistics.median(refused[1:]) * 1000:.0f} ms" if refused else "-"
    )
    print(  # noqa: T201
        f"\nFIGURES {server} {how}: {first}; others median {statistics.median(served) * 1000:.0f} ms, "
        f"at most {max(served):.2f} s; recovered {recovery:.2f} s"
    )
