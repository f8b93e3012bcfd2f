"""Keeping templates and making services from them, through the operations on real stores."""

import pytest

from tests.support.calling import As, nobody
from tests.support.people import person, provider
from tests.support.stack import Stores

GARDEN = {"name": "Garden", "description": "Beds, paths, hedges.", "type": "service"}


@pytest.fixture
def eve(stores: Stores) -> As:
    """An administrator."""
    return person("Eve", admin=True)


def audit(stores: Stores) -> list[dict[str, object]]:
    """What is on record about templates, oldest first."""
    return stores.rows("itlc_templates", "SELECT actor_id, action, object, before, after FROM audit ORDER BY id")


def test_an_administrator_keeps_a_template_that_all_may_read(eve: As, stores: Stores) -> None:
    response = eve.call("keep_template", GARDEN)
    assert response.status == 201
    assert response.headers["Location"] == f"templates/{response['id']}"
    assert set(response.json) == {"id", "name", "description", "type", "created_at", "updated_at"}
    read = nobody.call("read_template", template_id=response["id"])
    assert (read.status, read.json) == (200, response.json)
    (row,) = stores.rows("itlc_templates", "SELECT name, description, type FROM template_store")
    assert row == GARDEN
    (entry,) = audit(stores)
    assert entry == {
        "actor_id": eve.user_id,
        "action": "keep_template",
        "object": f"template:{response['id']}",
        "before": None,
        "after": GARDEN,
    }


def test_the_key_keeps_one_template(eve: As, stores: Stores) -> None:
    first, again = (eve.call("keep_template", GARDEN, key="k") for _ in range(2))
    assert (again.text, again.headers["Idempotency-Replayed"]) == (first.text, "true")
    assert eve.call("keep_template", {**GARDEN, "name": "Other"}, key="k").status == 422
    assert len(stores.rows("itlc_templates", "SELECT * FROM template_store")) == 1
    assert len(audit(stores)) == 1


def test_a_template_is_changed_and_removed(eve: As, stores: Stores) -> None:
    kept = eve.call("keep_template", GARDEN)
    template_id = kept["id"]
    changed = eve.call(
        "change_template", {"type": "project"}, headers={"If-Match": kept.headers["ETag"]}, template_id=template_id
    )
    assert (changed.status, changed["type"], changed["name"]) == (200, "project", "Garden")
    assert eve.call("change_template", {}, template_id=template_id).json == changed.json
    stale = {"headers": {"If-Match": kept.headers["ETag"]}, "template_id": template_id}
    assert eve.call("change_template", {"name": "G"}, **stale).status == 412
    assert eve.call("remove_template", **stale).status == 412
    assert eve.call("remove_template", template_id=template_id).status == 204
    assert nobody.call("read_template", template_id=template_id).status == 404
    assert eve.call("remove_template", template_id=template_id).status == 404
    assert eve.call("change_template", {"name": "G"}, template_id=template_id).status == 404
    assert [(entry["action"], entry["before"], entry["after"]) for entry in audit(stores)[1:]] == [
        ("change_template", {"type": "service"}, {"type": "project"}),
        ("remove_template", {**GARDEN, "type": "project"}, None),
    ]


@pytest.mark.parametrize(
    "change", [{"type": "order"}, {"name": ""}, {"description": None}, {"id": 3}, {"name": "x" * 201}]
)
def test_bad_templates_are_refused(eve: As, stores: Stores, change: dict[str, object]) -> None:
    assert eve.call("keep_template", {**GARDEN, **change}).status == 422
    kept = eve.call("keep_template", GARDEN)
    assert eve.call("change_template", change, template_id=kept["id"]).status == 422
    assert nobody.call("list_templates")["items"] == [kept.json]


def test_only_administrators_keep_change_and_remove(eve: As, stores: Stores) -> None:
    template_id = eve.call("keep_template", GARDEN)["id"]
    ada = person("Ada")
    for who, status in ((ada, 403), (nobody, 401)):
        assert who.call("keep_template", GARDEN).status == status
        assert who.call("change_template", {"name": "G"}, template_id=template_id).status == status
        assert who.call("remove_template", template_id=template_id).status == status
    assert len(stores.rows("itlc_templates", "SELECT * FROM template_store WHERE name = 'Garden'")) == 1


def test_templates_are_found_by_type_and_words(eve: As) -> None:
    bodies = [GARDEN, {**GARDEN, "type": "project"}, {**GARDEN, "name": "Kitchen"}]
    garden, project, kitchen = (eve.call("keep_template", body)["id"] for body in bodies)

    def found(**query: str) -> list[int]:
        return [item["id"] for item in nobody.call("list_templates", query=query)["items"]]

    assert found() == [kitchen, project, garden]
    assert found(type="service") == [kitchen, garden]
    assert found(q="garden", type="service") == [garden]
    assert found(q="hedges kitchen") == [kitchen]
    spiced = eve.call("keep_template", {**GARDEN, "name": "Piñata/party"})["id"]
    assert found(q="pinata") == found(q="PARTY") == [spiced]
    eve.call("remove_template", template_id=spiced)
    assert nobody.call("list_templates", query={"type": "order"}).status == 422
    pages = list(nobody.pages("list_templates", query={"limit": 2}))
    assert [[item["id"] for item in page] for page in pages] == [[kitchen, project], [garden]]


def test_a_service_takes_from_its_template_what_it_does_not_say_itself(eve: As) -> None:
    template_id = eve.call("keep_template", GARDEN)["id"]
    project_id = eve.call("keep_template", {**GARDEN, "type": "project"})["id"]
    grace, _ = provider("Grace")
    made = grace.call("publish_service", {"template_id": template_id, "name": "My gardens"})
    assert (made.status, made["name"], made["description"], made["template_id"]) == (
        201,
        "My gardens",
        GARDEN["description"],
        template_id,
    )
    for wrong in (project_id, 99):
        response = grace.call("publish_service", {"template_id": wrong})
        assert (response.status, response["errors"][0]["field"]) == (422, "template_id")
    eve.call("remove_template", template_id=template_id)
    assert nobody.call("read_service", service_id=made["id"]).json == made.json
