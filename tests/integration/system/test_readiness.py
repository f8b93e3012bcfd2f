"""Readiness names what is away, whether it refuses or does not answer, and does not wait for it."""

import threading
import time
from typing import Any

import pytest
from itlc.errors import StoreAway
from itlc.stores import neo4j, postgres
from itlc.system import readiness

from tests.support.calling import nobody
from tests.support.stack import Stores


def test_everything_is_up(stores: Stores) -> None:
    response = nobody.call("show_readiness")
    assert (response.status, response["status"]) == (200, "ready")
    assert len(response["stores"]) == 7
    assert set(response["stores"].values()) == set(response["queues"].values()) == {"up"}


def test_a_store_that_refuses_is_named(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise StoreAway("neo4j")

    monkeypatch.setattr(neo4j.graph, "ping", refuse)
    response = nobody.call("show_readiness")
    assert (response.status, response["status"]) == (503, "not ready")
    assert response.headers["Retry-After"] == "5"
    assert [name for name, state in response["stores"].items() if state == "away"] == ["neo4j"]


def test_a_store_that_does_not_answer_is_not_waited_for(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    gone_home = threading.Event()

    def hang(*_: Any) -> Any:
        gone_home.wait(60)

    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(postgres.tokens, "ping", hang)
    began = time.monotonic()
    response = nobody.call("show_readiness")
    took = time.monotonic() - began
    gone_home.set()
    assert response.status == 503
    assert [name for name, state in response["stores"].items() if state == "away"] == ["itlc_tokens"]
    assert took < 10
