"""Which services a project uses, on real stores."""

from typing import Any

from tests.support.calling import As, Response, nobody
from tests.support.market import project_of, service_of
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob, root = As(1), As(2), As(9, is_admin=True)


def use(caller: As, project_id: str, service_id: int) -> Response:
    """One call, for races too."""
    return caller.call("use_service", project_id=project_id, service_id=service_id)


def used(stores: Stores) -> list[int]:
    """The services of the only project."""
    (project,) = stores.documents("projects")
    ids: list[int] = project["service_ids"]
    return ids


def test_a_project_uses_a_service_once_and_drops_it(stores: Stores) -> None:
    project, gardening, plumbing = project_of(ada), service_of(bob), service_of(bob, "Plumbing")
    for service in (gardening, plumbing, gardening):
        response = use(ada, project, service)
        assert (response.status, response.text) == (204, "")
    assert ada.call("read_project", project_id=project)["service_ids"] == [gardening, plumbing]
    assert ada.call("drop_service", project_id=project, service_id=gardening).status == 204
    assert ada.call("drop_service", project_id=project, service_id=gardening).status == 404
    assert root.call("drop_service", project_id=project, service_id=plumbing).status == 204
    assert used(stores) == []


def test_the_service_must_exist_and_be_offered(stores: Stores) -> None:
    project, service = project_of(ada), service_of(bob)
    assert use(ada, project, 999).status == 404
    assert use(ada, project, service).status == 204
    assert bob.call("withdraw_service", service_id=service).status == 204
    assert use(ada, project, service).status == 409
    assert used(stores) == [service]
    assert ada.call("drop_service", project_id=project, service_id=service).status == 204


def test_the_project_must_be_ones_own(stores: Stores) -> None:
    project, service = project_of(ada), service_of(bob)
    for stranger, status in [(bob, 404), (nobody, 401)]:
        assert use(stranger, project, service).status == status
        assert use(stranger, project, 999).status == status
        assert stranger.call("drop_service", project_id=project, service_id=service).status == status
    assert use(ada, "665f1f77bcf86cd799439011", service).status == 404
    assert used(stores) == []


def test_the_version_is_the_projects(stores: Stores) -> None:
    project, service = project_of(ada), service_of(bob)
    tag = ada.call("read_project", project_id=project).headers["ETag"]
    ids: dict[str, Any] = {"project_id": project, "service_id": service}
    assert ada.call("use_service", headers={"if-match": tag}, **ids).status == 204
    assert ada.call("drop_service", headers={"if-match": tag}, **ids).status == 412
    assert used(stores) == [service]


def test_of_services_added_at_once_none_is_lost(stores: Stores) -> None:
    project = project_of(ada)
    services = [service_of(bob, f"Service {n}") for n in range(workers())]
    answers = at_once(use, [(ada, project, service) for service in services])
    assert {answer.status for answer in answers} == {204}
    assert sorted(used(stores)) == services


def test_a_project_uses_at_most_a_hundred(stores: Stores) -> None:
    project, service, another = project_of(ada), service_of(bob), service_of(bob, "Plumbing")
    full = list(range(1001, 1100))
    stores.mongo["itlc_pbfr"]["projects"].update_one({}, {"$set": {"service_ids": full}})
    assert use(ada, project, service).status == 204
    assert use(ada, project, another).status == 409
    assert use(ada, project, service).status == 204, "one that is there already stays"
    assert used(stores) == [*full, service]
