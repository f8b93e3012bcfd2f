"""Projects, as their operations plan, list, change and delete them, on real stores."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.calling import As, Response, nobody
from tests.support.market import order_in, project_of, service_of
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob, root = As(1), As(2), As(9, is_admin=True)
GARDEN = {"name": "Garden", "description": "Hedges, lawns, roses."}


def template(stores: Stores, type: str = "project") -> int:
    """The id of a new template."""
    (row,) = stores.rows(
        "itlc_templates",
        "INSERT INTO template_store (name, description, type) VALUES ('A pond', 'Dig, fill.', :type) RETURNING id",
        type=type,
    )
    return int(row["id"])


def create(caller: As, body: dict[str, Any], key: str) -> Response:
    """For races: what one worker does."""
    return caller.call("create_project", body, key=key)


def change(caller: As, project_id: str, body: dict[str, Any], if_match: str | None = None) -> Response:
    """For races: what one worker does."""
    headers = {"if-match": if_match} if if_match else None
    return caller.call("change_project", body, headers=headers, project_id=project_id)


def test_a_user_creates_a_project(stores: Stores) -> None:
    gardening, plumbing = service_of(bob), service_of(bob, "Plumbing")
    response = ada.call("create_project", {**GARDEN, "service_ids": [plumbing, gardening]})
    assert response.status == 201
    assert response.headers["Location"] == f"projects/{response['id']}"
    assert response.json == {
        **GARDEN,
        "id": response["id"],
        "owner_id": 1,
        "service_ids": [plumbing, gardening],
        "status": "open",
        "template_id": None,
        "created_at": response["created_at"],
        "updated_at": response["created_at"],
    }
    (document,) = stores.documents("projects")
    assert str(document["_id"]) == response["id"]
    assert (document["name"], document["description"]) == ("Garden", "Hedges, lawns, roses.")
    assert (document["status_version"], document["version"]) == (0, 1)
    assert document["created_at"].isoformat(timespec="microseconds").replace("+00:00", "Z") == response["created_at"]
    read = ada.call("read_project", project_id=response["id"])
    assert (read.status, read.json, read.headers["ETag"]) == (200, response.json, response.headers["ETag"])


def test_a_template_gives_what_the_request_leaves_out(stores: Stores) -> None:
    pond = template(stores)
    made = ada.call("create_project", {"template_id": pond})
    assert (made.status, made["name"], made["description"], made["template_id"]) == (
        201,
        "A pond",
        "Dig, fill.",
        pond,
    )
    own_words = ada.call("create_project", {"template_id": pond, "name": "My pond"})
    assert (own_words["name"], own_words["description"]) == ("My pond", "Dig, fill.")


def test_bad_projects_are_refused_and_none_is_made(stores: Stores) -> None:
    withdrawn = service_of(bob)
    assert bob.call("withdraw_service", service_id=withdrawn).status == 204
    for body, field in [
        ({"name": "Garden"}, "description"),
        ({"description": "Roses."}, "name"),
        ({**GARDEN, "service_ids": [withdrawn]}, "service_ids"),
        ({**GARDEN, "service_ids": [999]}, "service_ids"),
        ({**GARDEN, "template_id": 999}, "template_id"),
        ({"template_id": template(stores, "service")}, "template_id"),
        ({**GARDEN, "colour": "green"}, "colour"),
    ]:
        response = ada.call("create_project", body)
        assert (response.status, [error["field"] for error in response["errors"]]) == (422, [field]), body
    assert nobody.call("create_project", GARDEN).status == 401
    assert stores.documents("projects") == []


def test_a_repeated_key_gets_the_first_answer(stores: Stores) -> None:
    first = ada.call("create_project", GARDEN, key="k")
    again = ada.call("create_project", GARDEN, key="k")
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert (again.headers["Location"], again.headers["ETag"]) == (first.headers["Location"], first.headers["ETag"])
    other = ada.call("create_project", {**GARDEN, "name": "Pond"}, key="k")
    assert (other.status, other["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert bob.call("create_project", GARDEN, key="k").status == 201, "a key belongs to its caller"
    assert len(stores.documents("projects")) == 2


def test_the_answer_is_kept_though_the_project_changes_and_goes(stores: Stores) -> None:
    first = ada.call("create_project", GARDEN, key="k")
    ada.call("change_project", {"name": "Park"}, project_id=first["id"])
    assert ada.call("create_project", GARDEN, key="k").text == first.text
    assert ada.call("delete_project", project_id=first["id"]).status == 204
    again = ada.call("create_project", GARDEN, key="k")
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert stores.documents("projects") == []


def test_a_refusal_is_remembered_under_its_key(stores: Stores) -> None:
    refused = ada.call("create_project", {**GARDEN, "service_ids": [1]}, key="k")
    assert refused.status == 422
    assert service_of(bob) == 1
    again = ada.call("create_project", {**GARDEN, "service_ids": [1]}, key="k")
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (422, refused.text, "true")
    assert ada.call("create_project", GARDEN, key="k")["errors"][0]["field"] == "Idempotency-Key"
    assert ada.call("create_project", {**GARDEN, "service_ids": [1]}, key="k2").status == 201


def test_a_spent_key_is_free_again(stores: Stores) -> None:
    first = ada.call("create_project", GARDEN, key="k")
    expired = {"$set": {"idempotency.expires_at": stores.documents("projects")[0]["created_at"] - timedelta(hours=1)}}
    stores.mongo["itlc_pbfr"]["projects"].update_one({}, expired)
    second = ada.call("create_project", {**GARDEN, "name": "Pond"}, key="k")
    assert (second.status, second["id"] == first["id"]) == (201, False)
    assert "Idempotency-Replayed" not in second.headers


def test_the_same_key_many_times_at_once_makes_one_project(stores: Stores) -> None:
    answers = at_once(create, [(ada, GARDEN, "k")] * workers())
    assert {answer.status for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(stores.documents("projects")) == 1


def test_projects_are_seen_by_their_owner_and_administrators_only(stores: Stores) -> None:
    project = project_of(ada)
    assert root.call("read_project", project_id=project).status == 200
    for stranger, status in [(bob, 404), (nobody, 401)]:
        assert stranger.call("read_project", project_id=project).status == status
        assert stranger.call("change_project", {"name": "Mine"}, project_id=project).status == status
        assert stranger.call("delete_project", project_id=project).status == status
    for odd in (
        "665f1f77bcf86cd799439011",
        "1",
        "not-an-id",
        "665F1F77BCF86CD799439011",
        "66 f1f77bcf86cd79943901",
        "\0",
    ):
        assert ada.call("read_project", project_id=odd).status == 404
        assert ada.call("change_project", {"name": "Mine"}, project_id=odd).status == 404
        assert ada.call("delete_project", project_id=odd).status == 404
    assert len(stores.documents("projects")) == 1
    assert bob.call("list_projects")["items"] == root.call("list_projects")["items"] == []


def test_the_owner_changes_any_of_the_fields(stores: Stores) -> None:
    project = project_of(ada)
    before = ada.call("read_project", project_id=project)
    assert ada.call("change_project", {}, project_id=project).json == before.json
    renamed = ada.call("change_project", {"name": "Park"}, project_id=project)
    assert (renamed.status, renamed["name"], renamed["description"]) == (200, "Park", before["description"])
    assert ada.call("change_project", {"description": "Trees."}, project_id=project)["name"] == "Park"
    assert [item["id"] for item in ada.call("list_projects", query={"q": "park trees"})["items"]] == [project]
    assert ada.call("list_projects", query={"q": "garden"})["items"] == []
    for body in ({"name": None}, {"name": ""}, {"status": "paid"}, {"service_ids": [1]}):
        assert ada.call("change_project", body, project_id=project).status == 422
    assert root.call("change_project", {"name": "Ours"}, project_id=project)["name"] == "Ours"


def test_a_change_needs_the_version_it_was_made_from(stores: Stores) -> None:
    project = project_of(ada)
    tag = ada.call("read_project", project_id=project).headers["ETag"]
    assert change(ada, project, {"name": "Park"}, tag).status == 200
    assert change(ada, project, {"name": "Pond"}, tag).status == 412
    assert ada.call("delete_project", headers={"if-match": tag}, project_id=project).status == 412
    assert ada.call("read_project", project_id=project)["name"] == "Park"
    assert ada.call("delete_project", headers={"if-match": "*"}, project_id=project).status == 204


def test_of_many_changes_at_once_none_is_lost(stores: Stores) -> None:
    project = project_of(ada)
    halves: list[dict[str, Any]] = [{"name": "Park"}, {"description": "Trees."}]
    answers = at_once(change, [(ada, project, halves[n % 2]) for n in range(workers())])
    assert {answer.status for answer in answers} == {200}
    (document,) = stores.documents("projects")
    assert (document["name"], document["description"], document["words"]) == ("Park", "Trees.", ["park", "trees"])
    assert document["version"] == 1 + workers()


def test_of_many_changes_of_one_version_one_wins(stores: Stores) -> None:
    project = project_of(ada)
    tag = ada.call("read_project", project_id=project).headers["ETag"]
    answers = at_once(change, [(ada, project, {"name": f"Park {n}"}, tag) for n in range(workers())])
    assert sorted(answer.status for answer in answers) == [200] + [412] * (workers() - 1)
    (winner,) = [answer for answer in answers if answer.status == 200]
    assert stores.documents("projects")[0]["name"] == winner["name"]


def test_a_project_goes_while_it_has_no_order(stores: Stores) -> None:
    project = project_of(ada)
    assert ada.call("delete_project", project_id=project).status == 204
    assert ada.call("delete_project", project_id=project).status == 404
    assert stores.documents("projects") == []


@pytest.mark.parametrize("status", ["created", "completed", "cancelled"])
def test_a_project_with_an_order_stays(stores: Stores, status: str) -> None:
    project = project_of(ada)
    order_in(status, ada, bob, project_id=project)
    assert ada.call("delete_project", project_id=project).status == 409
    assert bob.call("delete_project", project_id=project).status == 404
    assert len(stores.documents("projects")) == 1


def test_lists_find_by_words_and_status(stores: Stores) -> None:
    cafe = ada.call("create_project", {"name": "Café terrace", "description": "CRÈME parasols."})["id"]
    pond = ada.call("create_project", {"name": "Pond", "description": "For the cafe's carp."})["id"]
    ada.call("create_project", GARDEN)
    bob.call("create_project", {"name": "Cafe", "description": "Bob's."})
    stores.mongo["itlc_pbfr"]["projects"].update_one({"name": "Pond"}, {"$set": {"status": "completed"}})
    found = {
        words: [item["id"] for item in ada.call("list_projects", query={"q": words})["items"]]
        for words in ("cafe", "CAFÉ", "Cafe\u0301", "cafe creme", "creme carp", "caf", "!?")
    }
    assert found == {
        "cafe": [pond, cafe],
        "CAFÉ": [pond, cafe],
        "Cafe\u0301": [pond, cafe],
        "cafe creme": [cafe],
        "creme carp": [],
        "caf": [],
        "!?": [],
    }
    completed = ada.call("list_projects", query={"q": "cafe", "status": "completed"})
    assert [item["id"] for item in completed["items"]] == [pond]
    for query in ({"status": "done"}, {"q": ""}, {"owner_id": 2}, {"limit": 0}, {"cursor": "x"}):
        assert ada.call("list_projects", query=query).status == 422


def test_pages_are_stable_while_projects_are_added_and_removed(stores: Stores) -> None:
    ids = [project_of(ada, f"Garden {n}") for n in range(9)][::-1]
    # All within one millisecond: the order among equals is by _id.
    projects = stores.mongo["itlc_pbfr"]["projects"]
    moment = stores.documents("projects")[0]["created_at"]
    projects.update_many({}, {"$set": {"created_at": moment}})
    seen: list[str] = []
    for page in ada.pages("list_projects", query={"limit": 2, "q": "garden"}):
        seen += [item["id"] for item in page]
        project_of(ada, "New garden")
        ada.call("delete_project", project_id=page[-1]["id"])
    assert seen == ids
    first = ada.call("list_projects", query={"limit": 1})
    stolen = bob.call("list_projects", query={"limit": 1, "cursor": first["next_cursor"]})
    assert stolen.status == 422, "a cursor is good for its caller only"
