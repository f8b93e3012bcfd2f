"""How a project stands, counted while another of its orders is just changing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from itlc.access import Caller
from itlc.orders import service
from itlc.orders.schemas import CheckIn
from itlc.stores.postgres import Database

from tests.support.calling import As
from tests.support.market import order_in
from tests.support.stack import Stores
from tests.support.waiting import eventually

ada, bob = As(1), As(2)
PROJECT = "665f1f77bcf86cd799439011"


def complete(db: Any, order_id: int) -> None:
    """Bob completes an order."""
    service.check_in(db, order_id, CheckIn(status="completed"), caller=Caller(2))


def waiting_for_a_lock(stores: Stores) -> bool:
    """Whether some transaction waits for another."""
    return bool(stores.rows("itlc_orders", "SELECT 1 FROM pg_locks WHERE NOT granted"))


def test_the_later_of_two_counts_what_the_earlier_did(stores: Stores) -> None:
    first, second = (order_in("in_progress", ada, bob, project_id=PROJECT) for _ in range(2))
    one, other = Database("itlc_orders", "orders"), Database("itlc_orders", "orders")
    changed, may_commit = threading.Event(), threading.Event()

    def complete_and_linger(db: Any) -> None:
        complete(db, first)
        changed.set()
        assert may_commit.wait(4)

    with ThreadPoolExecutor(2) as threads:
        earlier = threads.submit(one.write, complete_and_linger)
        assert changed.wait(4)
        later = threads.submit(other.write, lambda db: complete(db, second))
        eventually(lambda: waiting_for_a_lock(stores) or later.done(), "the later one waits", within=3, pause=0.01)
        assert not later.done(), "the later one did not wait for the earlier"
        may_commit.set()
        earlier.result(5)
        later.result(5)
    for database in (one, other):
        database.engine.dispose()
    (progress,) = stores.rows("itlc_orders", "SELECT status, version FROM project_progress")
    assert progress == {"status": "completed", "version": 2}
