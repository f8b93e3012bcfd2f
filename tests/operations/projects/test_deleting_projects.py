"""Deleting a project while others bid for it and make orders of it: it goes without orders, or it stays as it was."""

from collections.abc import Callable
from typing import Any

import pytest
from itlc.errors import StoreAway
from itlc.orders import repository
from itlc.projects.service import own_project
from itlc.stores import postgres
from itlc.stores.mongo import DocumentWriter

from tests.operations.orders.test_checkins import notices
from tests.support.calling import As, Response
from tests.support.market import member, open_bid, order_in, project_of, service_of
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob = As(1), As(2)


@pytest.fixture
def project(stores: Stores) -> str:
    """A project of Ada's; she and Bob have accounts."""
    assert [member(name).user_id for name in ("Ada", "Bob")] == [1, 2]
    return project_of(ada)


def delete(project_id: str, if_match: str | None = None, caller: As = ada) -> Response:
    """Ada, or another, deletes a project."""
    return caller.call("delete_project", headers={"if-match": if_match} if if_match else None, project_id=project_id)


def bid_for(project_id: str) -> Response:
    """Ada bids on a service for her project."""
    return ada.call("place_bid", {"amount": 5, "project_id": project_id}, service_id=service_of(bob))


def closings(stores: Stores) -> list[str]:
    """The projects that are noted as closed."""
    return [row["project_id"] for row in stores.rows("itlc_orders", "SELECT project_id FROM closed_projects")]


def minutes_pass(stores: Stores, minutes: int) -> None:
    """Projects were closed so many minutes earlier."""
    passed = f"UPDATE closed_projects SET closed_at = closed_at - interval '{minutes} minutes'"
    stores.rows("itlc_orders", passed)


def afterwards(does: Callable[..., Any], then: Callable[[], Any]) -> Callable[..., Any]:
    """What `does` does, and `then` something else."""

    def both(*arguments: Any, **named: Any) -> Any:
        result = does(*arguments, **named)
        then()
        return result

    return both


def delete_until_told(project_id: str) -> Response:
    """Ada deletes a project; who waited longer for the others than one waits for a lock (503) asks again."""
    answer = delete(project_id)
    return delete_until_told(project_id) if answer.status == 503 else answer


def mongodb_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No document can be deleted."""

    def refuse(*_: Any) -> None:
        raise StoreAway("itlc_pbfr")

    monkeypatch.setattr(DocumentWriter, "remove", refuse)


def delete_without_an_answer(patch: pytest.MonkeyPatch, project_id: str) -> None:
    """Ada deletes a project, which closes, and nobody knows what MongoDB made of it."""
    with patch.context() as here:
        mongodb_gives_no_answer(here)
        assert delete(project_id).status == 503


# The project goes


def test_no_order_is_made_of_a_project_that_went_meanwhile(
    stores: Stores, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project)
    deleted: list[int] = []
    looks = afterwards(own_project, lambda: deleted.append(delete(project).status))
    monkeypatch.setattr("itlc.bids.standing.own_project", looks)
    refused = bob.call("make_order", bid_id=bid)
    assert deleted == [204]
    assert (refused.status, refused["detail"]) == (
        409,
        "This project is being deleted: it gets no new bids and orders.",
    )
    assert stores.rows("itlc_orders", "SELECT * FROM orders") == []
    assert stores.rows("itlc_orders", "SELECT * FROM project_progress") == []
    assert stores.rows("itlc_orders", "SELECT status, order_id FROM bidding") == [{"status": "open", "order_id": None}]
    assert notices(stores, "%was taken%") == []


def test_no_bid_is_placed_for_a_project_that_went_meanwhile(
    stores: Stores, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[int] = []
    looks = afterwards(own_project, lambda: deleted.append(delete(project).status))
    monkeypatch.setattr("functions.bids.place_bid.own_project", looks)
    assert bid_for(project).status == 409
    assert deleted == [204]
    assert stores.rows("itlc_orders", "SELECT * FROM bidding") == []


def test_an_open_bid_outlives_its_project_and_can_only_be_rejected(stores: Stores, project: str) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project)
    assert delete(project).status == 204
    refused = bob.call("make_order", bid_id=bid)
    assert (refused.status, "can only be rejected" in refused["detail"]) == (409, True)
    assert bob.call("reject_bid", bid_id=bid).status == 200
    assert bid_for(project).status == 422


def test_of_many_deletions_at_once_one_deletes(stores: Stores, project: str) -> None:
    answers = at_once(delete_until_told, [(project,)] * workers())
    assert sorted(answer.status for answer in answers) == [204] + [404] * (workers() - 1)
    assert stores.documents("projects") == []


def test_what_was_closed_long_ago_is_forgotten_with_the_next_deletion(stores: Stores, project: str) -> None:
    assert delete(project).status == 204
    assert closings(stores) == [project]
    minutes_pass(stores, 6)
    other, third = project_of(ada), project_of(ada)
    assert [delete(one).status for one in (other, third)] == [204, 204]
    assert sorted(closings(stores)) == sorted([other, third])


# The project stays


def test_a_refused_deletion_closes_nothing(stores: Stores, project: str) -> None:
    order_in("cancelled", ada, bob, project_id=project)
    assert delete(project).status == 409
    assert delete(project, '"another"').status == 412
    assert delete(project, caller=bob).status == 404
    assert delete("665f1f77bcf86cd799439011").status == 404
    assert closings(stores) == []
    assert bid_for(project).status == 201


def test_a_project_that_is_changed_while_it_closes_opens_again(
    stores: Stores, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project)
    tag = ada.call("read_project", project_id=project).headers["ETag"]
    change = lambda: ada.call("change_project", {"name": "Park"}, project_id=project)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(repository, "close_project", afterwards(repository.close_project, change))
        assert delete(project, tag).status == 412
    assert ada.call("read_project", project_id=project)["name"] == "Park"
    assert closings(stores) == []
    assert bob.call("make_order", bid_id=bid).status == 201


@pytest.mark.parametrize("refused", [0, 1], ids=["the first", "the second"])
def test_who_is_refused_does_not_open_what_another_has_closed(stores: Stores, project: str, refused: int) -> None:
    closings = [postgres.orders.write(lambda db: repository.close_project(db, project)) for _ in range(2)]
    assert closings[0] < closings[1]
    for number in (refused, 1 - refused):
        assert bid_for(project).status == 409
        postgres.orders.write(lambda db: repository.open_project(db, project, closings[number]))  # noqa: B023
    assert bid_for(project).status == 201


# Nobody knows whether it goes


def test_a_deletion_without_an_answer_is_finished_by_asking_again(
    stores: Stores, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project)
    delete_without_an_answer(monkeypatch, project)
    assert ada.call("read_project", project_id=project).status == 200
    assert bob.call("make_order", bid_id=bid).status == 409
    assert bid_for(project).status == 409
    assert delete(project).status == 204
    assert stores.documents("projects") == []


def test_a_deletion_that_is_not_asked_for_again_lapses(
    stores: Stores, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = open_bid(ada, service_of(bob), project_id=project)
    delete_without_an_answer(monkeypatch, project)
    minutes_pass(stores, 4)
    assert bob.call("make_order", bid_id=bid).status == 409
    minutes_pass(stores, 1)
    assert bob.call("make_order", bid_id=bid).status == 201
    assert delete(project).status == 409
    assert len(stores.documents("projects")) == 1
