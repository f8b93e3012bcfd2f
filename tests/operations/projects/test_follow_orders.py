"""How a project stands follows its orders by messages, which may come twice, late, or never right."""

import itertools
from typing import Any

import pytest
from itlc.events import event

from tests.support.calling import As, deliver
from tests.support.market import order_in, project_of
from tests.support.queues import dead_letters, drain
from tests.support.stack import Stores

ada, bob = As(1), As(2)
ABSENT = "665f1f77bcf86cd799439011"


def told(project_id: Any, status: Any, version: Any, *, type: str = "progress") -> str:
    """A message about a project."""
    payload = {"project_id": project_id, "status": status}
    return event("projects", type, f"project:{project_id}", payload, version=version).body()


def stands(stores: Stores) -> tuple[str, int]:
    """How the only project stands, and by which count."""
    (project,) = stores.documents("projects")
    return project["status"], project["status_version"]


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_the_newest_count_stays_in_whatever_order_they_come(stores: Stores, order: tuple[int, ...]) -> None:
    project = project_of(ada)
    statuses = {1: "in_progress", 2: "completed", 3: "paid"}
    messages = [told(project, statuses[version], version) for version in order]
    assert deliver("follow_orders", *messages, *messages) == []
    assert stands(stores) == ("paid", 3)
    assert stores.documents("projects")[0]["version"] == 1 + len(
        [v for n, v in enumerate(order) if v == max(order[: n + 1])]
    )


def test_a_version_from_before_is_gone(stores: Stores) -> None:
    project = project_of(ada)
    tag = ada.call("read_project", project_id=project).headers["ETag"]
    deliver("follow_orders", told(project, "in_progress", 1))
    stale = ada.call("change_project", {"name": "Park"}, headers={"if-match": tag}, project_id=project)
    assert stale.status == 412
    assert ada.call("change_project", {"name": "Park"}, project_id=project)["status"] == "in_progress"


def test_a_project_that_is_gone_is_ignored(stores: Stores) -> None:
    assert deliver("follow_orders", told(ABSENT, "paid", 1)) == []
    assert stores.documents("projects") == []
    assert dead_letters("projects") == []


def test_what_can_never_succeed_is_buried_with_its_reason_and_holds_up_nobody(stores: Stores) -> None:
    project = project_of(ada)
    bad = {
        told(project, "paid", 1, type="payment"): "projects know no event of type 'payment'",
        told(project, "done", 1): "the event does not tell how a project stands: status",
        told("7", "paid", 1): "the event does not tell how a project stands: project_id",
        told(7, "paid", 1): "the event does not tell how a project stands: project_id",
        told(project, "paid", None): "the event does not tell how a project stands: version",
        told(project, "paid", 0): "the event does not tell how a project stands: version",
        told(project, "paid", 2**63): "the aggregate's version is not a whole number",
        "{": "the message is not JSON",
    }
    assert deliver("follow_orders", *bad, told(project, "completed", 1)) == []
    assert {letter["body"]: letter["reason"] for letter in dead_letters("projects")} == bad
    assert stands(stores) == ("completed", 1)


def test_real_orders_move_their_project(stores: Stores) -> None:
    project = project_of(ada)
    first = order_in("created", ada, bob, project_id=project)
    drain()
    assert ada.call("read_project", project_id=project)["status"] == "in_progress"
    order_in("completed", ada, bob, project_id=project)
    assert bob.call("cancel_order", {"reason": "Rain."}, order_id=first).status == 200
    drain()
    assert ada.call("read_project", project_id=project)["status"] == "completed"
    assert [p["id"] for p in ada.call("list_projects", query={"status": "completed"})["items"]] == [project]
