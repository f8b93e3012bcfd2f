"""How often one caller may write: counted in each store, over all workers, without names of people or places."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from itlc import limits
from itlc.settings import settings
from itlc.stores import mongo, neo4j, postgres

from tests.support.calling import As, Response, nobody, run_scheduled
from tests.support.limited import set_limits, stop_clock
from tests.support.people import person
from tests.support.racing import at_once
from tests.support.stack import Stores

NOW = 1_999_999_990.0  # ten seconds into a minute of the year 2033
ada = As(1)
UNKNOWN_STEP = {"order_id": 1, "step_id": "018f3f6e-7b1a-7cc1-9d3e-0a1b2c3d4e5f"}
# For each store a write that costs nothing but the count, for it is refused.
WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "itlc_users": ("sign_out", {}),
    "itlc_api": ("withdraw_service", {"service_id": 1}),
    "itlc_orders": ("withdraw_bid", {"bid_id": 1}),
    "itlc_tokens": ("top_up", {}),
    "itlc_templates": ("remove_template", {"template_id": 1}),
    "itlc_pbfr": ("delete_blog", {"blog_id": "665f1f77bcf86cd799439011"}),
    "neo4j": ("remove_step", UNKNOWN_STEP),
}


@pytest.fixture(autouse=True)
def own_settings(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three writes a minute, at a moment that stands still; everything as it was afterwards."""
    set_limits(monkeypatch, caller_writes=3, address_writes=3)
    stop_clock(monkeypatch, NOW)
    yield
    monkeypatch.undo()
    settings.cache_clear()


def is_refused(answer: Response) -> None:
    """It is a 429 problem that says when to try again."""
    assert answer.status == 429, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "50"
    assert answer["type"] == "urn:itlc:problem:too-many"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("store", WRITES)
def test_each_store_counts_the_writes_of_a_caller(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, ids = WRITES[store]
    set_limits(monkeypatch, address_writes=100)
    caller, other = (person("Ada", admin=True), person("Bob", admin=True)) if "template" in name else (As(1), As(2))
    allowed = [caller.call(name, **ids).status for _ in range(3)]
    assert {status // 100 for status in allowed} <= {2, 4}
    assert 429 not in allowed
    is_refused(caller.call(name, **ids))
    assert other.call(name, **ids).status == allowed[0], "another caller has a count of their own"
    stop_clock(monkeypatch, NOW + 50)
    assert caller.call(name, **ids).status == allowed[0], "the next minute begins at nought"


COUNTERS: dict[str, limits.Counter] = {"postgres": postgres.templates, "mongo": mongo.blogs, "neo4j": neo4j.graph}


def count_once(store: str) -> int:
    """Count one request, in a worker of its own."""
    return COUNTERS[store].count_request("user:1", limits.Window(2_000_000_040))


@pytest.mark.parametrize("store", COUNTERS)
def test_a_count_goes_up_by_one_whoever_counts(stores: Stores, store: str) -> None:
    counts = at_once(count_once, [(store,)] * 12)
    assert sorted(counts) == list(range(1, 13))


def test_what_is_refused_has_no_effect_and_reading_is_not_counted(stores: Stores) -> None:
    for number in range(5):
        ada.call("create_project", {"name": f"Garden {number}", "description": "Roses."})
    assert len(stores.documents("projects")) == 3
    assert {ada.call("list_projects").status for _ in range(5)} == {200}


def test_a_refusal_is_not_remembered_under_a_key(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        ada.call("create_project", {})
    body = {"name": "Garden", "description": "Roses."}
    is_refused(ada.call("create_project", body, key="k"))
    stop_clock(monkeypatch, NOW + 60)
    assert ada.call("create_project", body, key="k").status == 201


def test_without_a_token_an_address_is_a_caller_and_a_network_of_ipv6_is_one_address(stores: Stores) -> None:
    def register(number: int, address: str) -> Response:
        user = {"name": "Ada", "email": f"ada{number}@example.org", "password": "correct horse battery staple"}
        return As(address=address).call("register_user", user)

    assert [register(n, f"2001:db8:1:2::{n}").status for n in range(3)] == [201] * 3
    is_refused(register(3, "2001:db8:1:2:ffff::1"))
    assert register(4, "2001:db8:1:3::1").status == 201
    assert [register(n, "203.0.113.9").status for n in range(5, 8)] == [201] * 3
    is_refused(register(8, "::ffff:203.0.113.9"))
    assert register(9, "203.0.113.10").status == 201


def test_addresses_are_kept_as_keyed_hashes_only(stores: Stores) -> None:
    As(address="203.0.113.9").call("refresh_session", {"refresh_token": "x"})
    (kept,) = stores.rows("itlc_users", "SELECT * FROM request_counts")
    assert "203.0.113" not in str(kept)
    assert len(kept["subject"]) == 64
    import hashlib

    assert kept["subject"] != hashlib.sha256(b"203.0.113.9").hexdigest()


def test_counts_that_are_over_are_purged(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    over, going_on = limits.Window(int(time.time()) - 120), limits.Window(int(time.time()) + 60)
    for counter in (postgres.users, postgres.orders, mongo.blogs, neo4j.graph):
        counter.count_request("over", over)
        counter.count_request("going on", going_on)
    assert run_scheduled("purge_expired")["counts"] == 4
    assert stores.rows("itlc_orders", "SELECT subject FROM request_counts") == [{"subject": "going on"}]
    assert [kept["_id"] for kept in stores.documents("request_counts")] == [f"going on {going_on.end}"]
    assert stores.graph("MATCH (c:RequestCount) RETURN c.id AS id") == [{"id": f"going on {going_on.end}"}]


def test_a_count_that_breaks_lets_the_request_pass(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> int:
        raise RuntimeError("no such table")

    monkeypatch.setattr(mongo.DocumentStore, "count_request", break_down)
    assert {ada.call("create_project", {"name": "A", "description": "B"}).status for _ in range(5)} == {201}


def test_a_store_that_is_away_is_asked_once(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    from itlc.errors import StoreAway

    asked: Counter[str] = Counter()

    def away(*_: object, **__: object) -> int:
        asked["count"] += 1
        raise StoreAway("itlc_pbfr")

    monkeypatch.setattr(mongo.DocumentStore, "count_request", away)
    monkeypatch.setattr(mongo.DocumentStore, "write", away)
    answer = ada.call("create_project", {"name": "A", "description": "B"})
    assert (answer.status, asked["count"]) == (503, 1)
    assert int(answer.headers["Retry-After"]) >= 1


def test_each_write_names_the_store_in_which_it_is_counted() -> None:
    from tests.support.calling import operations

    routes = [app.route_spec for app in operations().values() if app.route_spec is not None]
    assert [route.path for route in routes if route.method != "GET" and route.store is None] == []


def test_the_defaults_let_a_suite_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    settings.cache_clear()
    assert settings().caller_writes >= 10_000
    assert settings().address_writes >= 10_000
    assert nobody.call("refresh_session", {"refresh_token": "x"}).status == 401
