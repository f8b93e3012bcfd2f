"""Who is told of what happens to a plan: through the graph's outbox, the queue, and the notifications."""

import json
from typing import Any

import pytest

from tests.support.calling import As
from tests.support.market import member, order_in
from tests.support.plans import lay_down, step
from tests.support.queues import drain
from tests.support.stack import Stores


class Cast:
    """An order in progress, its parties, and two who work on it; nobody has been told anything yet."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.customer, self.provider = member("Carl"), member("Petra")
        self.ann, self.ben = member("Ann"), member("Ben")
        self.order_id = order_in("in_progress", self.customer, self.provider)
        self.told()

    def told(self) -> dict[str, list[str]]:
        """Whom the queue told what since one last asked, by first name."""
        drain()
        rows = self.stores.rows("itlc_orders", "DELETE FROM notifications RETURNING user_id, message, id")
        names = {row["id"]: row["name"] for row in self.stores.rows("itlc_users", "SELECT id, name FROM users")}
        told: dict[str, list[str]] = {}
        for row in sorted(rows, key=lambda row: row["id"]):
            told.setdefault(names[row["user_id"]], []).append(row["message"])
        return told


@pytest.fixture
def cast(stores: Stores) -> Cast:
    return Cast(stores)


def test_defining_tells_the_customer_and_everybody_named_once(cast: Cast) -> None:
    both = ("ANN@example.org", "ben@example.org", "petra@example.org", "carl@example.org", "unknown@example.org")
    lay_down(cast.provider, cast.order_id, [step(1, tell=both), step(2, 1, tell=both)])
    message = f"Order {cast.order_id} has a new plan of 2 steps."
    assert cast.told() == {"Carl": [message], "Ann": [message], "Ben": [message]}
    assert cast.stores.graph("MATCH (o:Outbox) RETURN o") == [], "what was sent has left the outbox"


def test_adding_tells_those_of_the_new_step(cast: Cast) -> None:
    lay_down(cast.provider, cast.order_id, [step(1, tell=("ann@example.org",))])
    cast.told()
    added = cast.provider.call("add_step", step(2, 1, tell=("ben@example.org",)), key="k", order_id=cast.order_id)
    assert added.status == 201
    message = f"Order {cast.order_id}: step 2 was added to the plan."
    assert cast.told() == {"Carl": [message], "Ben": [message]}
    cast.provider.call("add_step", step(2, 1, tell=("ben@example.org",)), key="k", order_id=cast.order_id)
    assert cast.told() == {}, "a replay tells nobody again"


def test_completing_tells_also_those_of_the_steps_that_become_ready(cast: Cast) -> None:
    ann, ben = ("ann@example.org",), ("ben@example.org",)
    ids = lay_down(cast.provider, cast.order_id, [step(1, tell=ann), step(2), step(3, 1, 2, tell=ben)])
    cast.told()
    cast.provider.call("complete_step", order_id=cast.order_id, step_id=ids[0])
    message = f"Order {cast.order_id}: step 1 is complete."
    assert cast.told() == {"Carl": [message], "Ann": [message]}, "step 3 still waits for step 2"
    cast.provider.call("complete_step", order_id=cast.order_id, step_id=ids[1])
    message = f"Order {cast.order_id}: step 2 is complete. Ready to begin: step 3."
    assert cast.told() == {"Carl": [message], "Ben": [message]}


def test_whoever_acts_is_not_told(cast: Cast) -> None:
    admin = member("Root", admin=True)
    lay_down(admin, cast.order_id, [step(1, tell=("root@example.org", "petra@example.org"))])
    assert set(cast.told()) == {"Carl", "Petra"}


def test_changes_removals_and_refusals_tell_nobody(cast: Cast) -> None:
    ids = lay_down(cast.provider, cast.order_id, [step(1), step(2)])
    cast.told()
    at: dict[str, Any] = {"order_id": cast.order_id, "step_id": ids[1]}
    assert cast.provider.call("change_step", {"notified_personnel": ["ann@example.org"]}, **at).status == 200
    assert cast.provider.call("remove_step", **at).status == 204
    assert cast.provider.call("add_step", step(9), order_id=cast.order_id).status == 422
    assert cast.provider.call("define_plan", [], order_id=cast.order_id).status == 200
    assert cast.told() == {}


def test_what_the_queue_does_not_take_waits_in_the_graph(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from itlc import events

    def away(_: object) -> set[str]:
        raise ConnectionError("the queue is away")

    monkeypatch.setattr(events, "send", away)
    assert cast.provider.call("define_plan", [step(1)], order_id=cast.order_id).status == 200
    (waiting,) = cast.stores.graph("MATCH (o:Outbox) RETURN o.event AS event")
    event = json.loads(waiting["event"])
    assert (event["queue"], event["aggregate"]) == ("notifications", f"order:{cast.order_id}")
    assert event["payload"]["user_ids"] == [cast.customer.user_id]


def test_nobody_is_told_of_a_transaction_that_was_rolled_back(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from itlc.plans import repository

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    lay_down(cast.provider, cast.order_id, [step(1)])
    cast.told()
    monkeypatch.setattr(repository, "_connect", broken)
    assert cast.provider.call("define_plan", [step(1), step(2, 1)], order_id=cast.order_id).status == 500
    assert cast.told() == {}
    assert len(cast.stores.graph("MATCH (s:OrderStep) RETURN s.id")) == 1
    assert As(cast.customer.user_id).call("list_steps", order_id=cast.order_id).status == 200
