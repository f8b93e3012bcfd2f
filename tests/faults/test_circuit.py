"""A circuit: what opens it, for how long, who is let through, and what it says meanwhile."""

import time
from typing import Any

import neo4j.exceptions
import pg8000.exceptions
import pymongo.errors
import pytest
from itlc.answers import problem
from itlc.errors import NotFound, StoreAway
from itlc.stores import mongo, postgres
from itlc.stores import neo4j as graph
from itlc.stores.circuit import Circuit, circuit
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError


class Down(Exception):
    """What a driver raises when nobody answers."""


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of circuits."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def way() -> Circuit:
    """A circuit that opens at `Down`."""
    return Circuit(lambda error: isinstance(error, Down))


def fail(way: Circuit, error: Exception = Down("nobody answers")) -> None:  # noqa: B008
    """Go that way, and fail."""
    with pytest.raises(type(error)), way.guard("itlc_users"):
        raise error


def test_after_a_failure_to_reach_it_nobody_asks_for_five_seconds(way: Circuit, clock: Clock) -> None:
    fail(way)
    for passed, seconds_left in ((0.0, 5), (0.5, 5), (3.7, 1)):
        clock.now += passed
        with pytest.raises(StoreAway) as told, way.guard("itlc_orders"):
            pytest.fail("the server was asked")
        assert told.value.retry_after == seconds_left
        assert told.value.store == "itlc_orders", "whoever asks is told of their own database"
        answer = problem(told.value, "-")
        assert (answer.status, answer.headers["Retry-After"]) == (503, str(seconds_left))


def test_the_first_to_come_afterwards_tries_for_all(way: Circuit, clock: Clock) -> None:
    fail(way)
    clock.now += 5
    fail(way)
    with pytest.raises(StoreAway), way.guard("itlc_users"):
        pytest.fail("the server was asked a second time")
    clock.now += 5
    with way.guard("itlc_users") as was_down:
        assert was_down
    with way.guard("itlc_users") as was_down:
        assert not was_down, "once it has answered, all is as before"


@pytest.mark.parametrize("error", [NotFound("no"), ValueError("a mistake"), StoreAway("itlc_users")])
def test_other_failures_open_nothing(way: Circuit, clock: Clock, error: Exception) -> None:
    fail(way, error)
    with way.guard("itlc_users") as was_down:
        assert not was_down


def test_who_asks_for_itself_is_let_through_and_closes_it_for_all(way: Circuit, clock: Clock) -> None:
    fail(way)
    with pytest.raises(Down), way.guard("itlc_users", probe=True):
        raise Down
    with pytest.raises(StoreAway):
        way.check("itlc_users")
    with way.guard("itlc_users", probe=True):
        pass
    way.check("itlc_users")


def test_a_clock_that_is_set_changes_nothing(way: Circuit, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(way)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(StoreAway) as told:
        way.check("itlc_users")
    assert told.value.retry_after == 5


def test_one_server_has_one_circuit() -> None:
    assert circuit("here:1", postgres.is_down) is circuit("here:1", postgres.is_down)
    assert circuit("here:1", postgres.is_down) is not circuit("here:2", postgres.is_down)


def refused(sqlstate: str) -> ProgrammingError:
    """An error that PostgreSQL answered."""
    said: Any = pg8000.exceptions.DatabaseError({"C": sqlstate})
    return ProgrammingError("SELECT 1", None, said)


def unanswered(error: Exception, *, lost: bool) -> DBAPIError:
    """An error of the connection, which was `lost`, or never made."""
    kind: type[DBAPIError] = OperationalError if lost else InterfaceError
    return kind(None, None, error, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("error", "down"),
    [
        (unanswered(pg8000.exceptions.InterfaceError("Can't create a connection"), lost=False), True),
        (unanswered(TimeoutError("timed out"), lost=True), True),
        (refused("57P03"), True),  # starting up, shutting down
        (unanswered(ConnectionResetError("reset"), lost=True), False),  # it can be replaced
        (refused("57014"), False),  # statement_timeout: the query was slow
        (refused("55P03"), False),  # lock_timeout
        (refused("53300"), False),  # too many clients
        (refused("53100"), False),  # disk full
        (refused("57P01"), False),  # this connection was ended by an administrator
        (refused("40001"), False),
        (ValueError(), False),
    ],
)
def test_what_means_that_postgresql_is_down(error: Exception, down: bool) -> None:
    assert postgres.is_down(error) is down


@pytest.mark.parametrize(
    ("error", "down"),
    [
        (pymongo.errors.ServerSelectionTimeoutError(), True),
        (pymongo.errors.NetworkTimeout(), True),
        (pymongo.errors.AutoReconnect(), True),
        (pymongo.errors.WaitQueueTimeoutError(), False),
        (pymongo.errors.ExecutionTimeout("slow"), False),
        (pymongo.errors.DuplicateKeyError("there"), False),
    ],
)
def test_what_means_that_mongodb_is_down(error: Exception, down: bool) -> None:
    assert mongo.is_down(error) is down


@pytest.mark.parametrize(
    ("error", "down"),
    [
        (neo4j.exceptions.ServiceUnavailable(), True),
        (neo4j.exceptions.SessionExpired(), True),
        (neo4j.exceptions.TransientError(), False),
        (neo4j.exceptions.ClientError(), False),
    ],
)
def test_what_means_that_neo4j_is_down(error: Exception, down: bool) -> None:
    assert graph.is_down(error) is down
