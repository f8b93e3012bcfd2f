"""The audit: the records of five databases as one list, and those of acts in MongoDB and Neo4j among them."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from itlc import events
from itlc.access import Caller
from itlc.audit_events import if_privileged
from itlc.stores import mongo
from itlc.stores.postgres import DATABASES

from tests.support.calling import As, deliver, nobody, run_scheduled
from tests.support.market import order_in, project_of, service_of
from tests.support.money import holder
from tests.support.people import person, provider
from tests.support.plans import lay_down, step
from tests.support.queues import dead_letters, drain
from tests.support.stack import Stores


def record_of(reader: As, object_name: str) -> dict[str, Any]:
    """The one record about an object."""
    (item,) = reader.call("list_audit", query={"object": object_name})["items"]
    return dict(item)


def fill(stores: Stores, *, same_moment: bool) -> list[str]:
    """Seven records in each database; their ids, newest first."""
    began = datetime.now(UTC) - timedelta(hours=1)
    expected = []
    for place, database in enumerate(DATABASES):
        for number in range(7):
            at = began if same_moment else began + timedelta(seconds=number * 5 + place)
            (row,) = stores.rows(
                database.name,
                "INSERT INTO audit (actor_id, action, object, created_at) "
                "VALUES (:actor, 'act', :object, :at) RETURNING id",
                actor=place + 1,
                object=f"order:{number}",
                at=at,
            )
            expected.append((at, -place, row["id"], f"{database.name.removeprefix('itlc_')}-{row['id']}"))
    return [item[-1] for item in sorted(expected, reverse=True)]


@pytest.fixture
def admin(stores: Stores) -> As:
    """An administrator, whose grant is not on record."""
    return holder("Root", admin=True)


@pytest.mark.parametrize("same_moment", [False, True])
@pytest.mark.parametrize("limit", [1, 4, 35, 100])
def test_five_databases_are_one_list(stores: Stores, admin: As, same_moment: bool, limit: int) -> None:
    expected = fill(stores, same_moment=same_moment)
    pages = list(admin.pages("list_audit", query={"limit": limit}))
    assert [item["id"] for page in pages for item in page] == expected
    assert len(set(expected)) == 35
    assert all(len(page) == limit for page in pages[:-1])


def test_new_records_do_not_disturb_who_is_reading(stores: Stores, admin: As) -> None:
    expected = fill(stores, same_moment=False)
    pages = admin.pages("list_audit", query={"limit": 10})
    seen = [item["id"] for item in next(pages)]
    stores.rows("itlc_tokens", "INSERT INTO audit (action, object) VALUES ('late', 'order:1')")
    seen += [item["id"] for page in pages for item in page]
    assert seen == expected


def test_it_is_searched_by_who_and_by_what(stores: Stores, admin: As) -> None:
    fill(stores, same_moment=False)
    by_actor = admin.call("list_audit", query={"actor_id": 3, "limit": 100})["items"]
    assert {item["id"].split("-")[0] for item in by_actor} == {"orders"}
    assert len(by_actor) == 7
    by_object = admin.call("list_audit", query={"object": "order:4", "limit": 100})["items"]
    assert sorted(item["actor_id"] for item in by_object) == [1, 2, 3, 4, 5]
    assert len(admin.call("list_audit", query={"object": "order:4", "actor_id": 2})["items"]) == 1
    assert admin.call("list_audit", query={"object": "order:9"})["items"] == []
    cursor = admin.call("list_audit", query={"actor_id": 3, "limit": 2})["next_cursor"]
    assert admin.call("list_audit", query={"actor_id": 4, "cursor": cursor}).status == 422
    for wrong in ({"actor_id": "x"}, {"object": ""}, {"who": 1}, {"actor_id": 0}):
        assert admin.call("list_audit", query=wrong).status == 422, wrong


def test_only_administrators_read_it(stores: Stores, admin: As) -> None:
    assert nobody.call("list_audit").status == 401
    assert holder("Ada").call("list_audit").status == 403
    pretender = holder("Eve")
    assert As(pretender.user_id, is_admin=True, session_id=pretender.session_id).call("list_audit").status == 403
    assert admin.call("list_audit").status == 200


def test_a_record_says_who_did_what_to_which_object_before_and_after(stores: Stores) -> None:
    root, grace = person("Root", admin=True), person("Grace")
    service_id = service_of(grace)
    request_id = str(uuid.uuid4())
    began = datetime.now(UTC) - timedelta(seconds=5)
    done = root.call("withdraw_service", service_id=service_id, headers={"X-Request-Id": request_id})
    assert done.status == 204
    item = record_of(root, f"service:{service_id}")
    assert item["id"].startswith("api-")
    assert (item["actor_id"], item["action"], item["request_id"]) == (root.user_id, "withdraw_service", request_id)
    assert (item["before"], item["after"]) == ({"status": "offered"}, {"status": "withdrawn"})
    assert item["created_at"].endswith("Z")
    assert datetime.fromisoformat(item["created_at"]) > began
    grant = record_of(root, f"user:{root.user_id}")
    assert (grant["actor_id"], grant["action"]) == (None, "grant_admin")


# MongoDB


def test_what_is_done_to_anothers_project_is_on_record(stores: Stores, admin: As) -> None:
    ada, grace = holder("Ada"), holder("Grace")
    project_id, service_id = project_of(ada), service_of(grace)
    acts: list[tuple[str, dict[str, str] | None, dict[str, Any]]] = [
        ("change_project", {"name": "Ada's secret"}, {}),
        ("use_service", None, {"service_id": service_id}),
        ("drop_service", None, {"service_id": service_id}),
        ("delete_project", None, {}),
    ]
    for operation, body, ids in acts:
        for caller in (ada, admin) if operation == "change_project" else (admin,):
            assert caller.call(operation, body, project_id=project_id, **ids).status in (200, 204), operation
    drain()
    items = admin.call("list_audit", query={"object": f"project:{project_id}"})["items"]
    nothing: dict[str, Any] = {"owner_id": ada.user_id, "service_ids": []}
    one = {"owner_id": ada.user_id, "service_ids": [service_id]}
    assert [(i["actor_id"], i["action"], i["before"], i["after"]) for i in reversed(items)] == [
        (admin.user_id, "change_project", nothing, {"changed": ["name"]}),
        (admin.user_id, "use_service", nothing, {"service_ids": [service_id]}),
        (admin.user_id, "drop_service", one, {"service_ids": []}),
        (admin.user_id, "delete_project", nothing, None),
    ]
    assert "secret" not in json.dumps(items)
    assert stores.documents("projects") == []


def test_what_is_done_to_anothers_pieces_and_reviews_is_on_record(stores: Stores, admin: As) -> None:
    grace, provider_id = provider("Grace")
    ada = holder("Ada")
    was = {"user_id": grace.user_id, "provider_id": provider_id}
    bodies = {"blog": {"title": "T", "content": "C"}, "faq": {"question": "Q", "answer": "A"}}
    for kind, body in bodies.items():
        piece = grace.call(f"write_{kind}", body)["id"]
        field = next(iter(body))
        assert admin.call(f"change_{kind}", {field: "Moderated."}, **{f"{kind}_id": piece}).status == 200
        assert admin.call(f"change_{kind}", {}, **{f"{kind}_id": piece}).status == 200, "changes nothing"
        assert admin.call(f"delete_{kind}", **{f"{kind}_id": piece}).status == 204
        drain()
        items = admin.call("list_audit", query={"object": f"{kind}:{piece}"})["items"]
        assert [(i["action"], i["before"], i["after"]) for i in reversed(items)] == [
            (f"change_{kind}", was, {"changed": [field]}),
            (f"delete_{kind}", was, None),
        ]
    service_id = service_of(grace)
    order_in("completed", ada, grace, service_id=service_id)
    review = ada.call("write_review", {"service_id": service_id, "review": "Bad."})["id"]
    assert admin.call("delete_review", review_id=review).status == 204
    drain()
    item = record_of(admin, f"review:{review}")
    assert (item["actor_id"], item["action"]) == (admin.user_id, "delete_review")
    assert item["before"] == {"user_id": ada.user_id, "service_id": service_id}


def test_what_one_does_to_ones_own_is_nobodys_business(stores: Stores, admin: As) -> None:
    mine = project_of(admin)
    assert admin.call("change_project", {"name": "B"}, project_id=mine).status == 200
    assert admin.call("delete_project", project_id=mine).status == 204
    ada = holder("Ada")
    theirs = project_of(ada)
    assert admin.call("change_project", {"name": "B"}, project_id=theirs, headers={"If-Match": '"x"'}).status == 412
    drain()
    assert admin.call("list_audit")["items"] == []


def test_a_deletions_record_outlives_the_queues_absence(
    stores: Stores, admin: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> set[str]:
        raise ConnectionError("the queue is away")

    project_id = project_of(holder("Ada"))
    with monkeypatch.context() as patch:
        patch.setattr(events, "send", refuse)
        assert admin.call("delete_project", project_id=project_id).status == 204
    assert stores.documents("projects") == []
    drain()
    assert admin.call("list_audit", query={"object": f"project:{project_id}"})["items"] == []
    past = datetime.now(UTC) - timedelta(minutes=1)
    stores.mongo["itlc_pbfr"]["bookkeeping"].update_many({}, {"$set": {"outbox.$[].claimed_until": past}})
    assert run_scheduled("relay_outbox")["sent"] == 1
    drain()
    assert record_of(admin, f"project:{project_id}")["action"] == "delete_project"


def test_a_deletion_that_does_not_happen_leaves_no_record(stores: Stores, admin: As) -> None:
    project_id = ObjectId(project_of(holder("Ada")))
    admin_caller = Caller(admin.user_id)
    asked: list[int] = []

    def allow(document: mongo.Document) -> tuple[events.Event, ...]:
        asked.append(document["version"])
        if len(asked) > 1:
            raise PermissionError("it has changed")
        stores.mongo["itlc_pbfr"]["projects"].update_one({"_id": project_id}, {"$inc": {"version": 1}})
        return if_privileged(admin_caller, 4711, "delete_project", "project:x")

    with pytest.raises(PermissionError):
        mongo.projects.write(lambda db: db.remove({"_id": project_id}, "project", allow))
    assert asked == [1, 2]
    assert [entry for document in stores.documents("bookkeeping") for entry in document.get("outbox", [])] == []


# Neo4j


def test_what_is_done_to_anothers_plan_is_on_record(stores: Stores, admin: As) -> None:
    ada, grace = holder("Ada"), holder("Grace")
    order_id = order_in("in_progress", ada, grace)
    lay_down(grace, order_id, [step(1)])
    first, second = lay_down(admin, order_id, [step(1, description="A secret"), step(2)])
    assert admin.call("change_step", {"description": "A secret"}, order_id=order_id, step_id=first).status == 200
    assert admin.call("change_step", {}, order_id=order_id, step_id=first).status == 200, "changes nothing"
    third = admin.call("add_step", step(3), order_id=order_id)["id"]
    assert admin.call("remove_step", order_id=order_id, step_id=second).status == 204
    assert admin.call("complete_step", order_id=order_id, step_id=first).status == 200
    drain()
    items = admin.call("list_audit", query={"object": f"order:{order_id}"})["items"]
    was = {"step_id": first, "step_number": 1, "complete": False}
    assert [(i["actor_id"], i["action"], i["before"], i["after"]) for i in reversed(items)] == [
        (admin.user_id, "define_plan", {"steps": 1}, {"steps": 2}),
        (admin.user_id, "change_step", was, {"changed": ["description"]}),
        (admin.user_id, "add_step", None, {"step_id": third, "step_number": 3, "complete": False}),
        (admin.user_id, "remove_step", {"step_id": second, "step_number": 2, "complete": False}, None),
        (admin.user_id, "complete_step", was, {"complete": True}),
    ]
    assert "secret" not in json.dumps(items)
    assert grace.call("add_step", step(3), order_id=order_id).status == 201
    drain()
    assert len(admin.call("list_audit", query={"object": f"order:{order_id}"})["items"]) == 5


# The queue


def act(**changes: Any) -> str:
    """What the queue `audit` carries."""
    said = {"actor_id": 1, "action": "delete_blog", "before": None, "after": None}
    fields = {"schema": 1, "type": "act", "aggregate": "blog:665f1f77bcf86cd799439011", "payload": said}
    body = {**fields, "id": str(uuid.uuid4()), "created_at": "2026-11-23T20:36:10+00:00", **changes}
    return json.dumps(body)


def test_a_message_that_comes_twice_is_one_record_with_the_time_of_the_act(stores: Stores, admin: As) -> None:
    body = act(payload={"actor_id": admin.user_id, "action": "delete_blog", "before": None, "after": None})
    for _ in range(3):
        assert deliver("record_audit", body) == []
    item = record_of(admin, "blog:665f1f77bcf86cd799439011")
    assert item["id"].startswith("users-")
    assert item["created_at"] == "2026-11-23T20:36:10.000000Z"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (act(type="deed"), "the queue audit knows the type act, not 'deed'"),
        (act(payload={"actor_id": 1}), "the payload of an act is wrong in: action, before, after"),
        (act(aggregate=""), "the aggregate is not a name of 1 to 128 characters"),
        (act(created_at="yesterday"), "the act's time cannot be read"),
        (act(), "there never was a user 1"),
    ],
)
def test_a_message_that_tells_of_no_act_is_a_dead_letter(stores: Stores, body: str, reason: str) -> None:
    assert deliver("record_audit", body) == []
    (letter,) = dead_letters("audit")
    assert letter["reason"] == reason
    assert stores.rows("itlc_users", "SELECT * FROM audit") == []
