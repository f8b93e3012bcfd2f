"""Reading services and taking them off the market, through the operations on real stores."""

from tests.support.calling import nobody
from tests.support.people import person, provider
from tests.support.stack import Stores

SERVICE = {"name": "Gardening", "description": "Hedges, lawns, roses."}


def test_a_withdrawn_service_is_not_listed_but_can_be_read(stores: Stores) -> None:
    grace, _ = provider("Grace")
    published = grace.call("publish_service", SERVICE)
    read = nobody.call("read_service", service_id=published["id"])
    assert (read.status, read.json) == (200, published.json)
    assert (read["status"], read["rating"]) == ("offered", {"average": None, "count": 0})

    response = grace.call("withdraw_service", service_id=published["id"])
    assert (response.status, response.text) == (204, "")
    assert nobody.call("list_services")["items"] == []
    withdrawn = nobody.call("read_service", service_id=published["id"])
    assert (withdrawn.status, withdrawn["status"]) == (200, "withdrawn")
    assert grace.call("withdraw_service", service_id=published["id"]).status == 204
    assert nobody.call("read_service", service_id=published["id"]).json == withdrawn.json
    assert grace.call("change_service", {"name": "Gardens"}, service_id=published["id"]).status == 409


def test_only_its_provider_withdraws_a_service(stores: Stores) -> None:
    grace, _ = provider("Grace")
    ada, _ = provider("Ada")
    service_id = grace.call("publish_service", SERVICE)["id"]
    assert nobody.call("withdraw_service", service_id=service_id).status == 401
    assert ada.call("withdraw_service", service_id=service_id).status == 403
    assert grace.call("withdraw_service", service_id=service_id, headers={"If-Match": '"old"'}).status == 412
    assert grace.call("withdraw_service", service_id=99).status == 404
    assert nobody.call("read_service", service_id=service_id)["status"] == "offered"
    assert nobody.call("read_service", service_id=99).status == 404


def test_what_an_administrator_does_in_a_providers_place_is_on_record(stores: Stores) -> None:
    grace, _ = provider("Grace")
    eve = person("Eve", admin=True)
    service_id = grace.call("publish_service", SERVICE)["id"]
    grace.call("change_service", {"description": "Roses."}, service_id=service_id)
    assert eve.call("change_service", {"name": "Gardens"}, service_id=service_id).status == 200
    assert eve.call("withdraw_service", service_id=service_id).status == 204
    entries = stores.rows("itlc_api", "SELECT actor_id, action, object, before, after FROM audit ORDER BY id")
    assert [(entry.pop("actor_id"), entry.pop("object")) for entry in entries] == [
        (eve.user_id, f"service:{service_id}")
    ] * 2
    assert entries == [
        {"action": "change_service", "before": {"name": "Gardening"}, "after": {"name": "Gardens"}},
        {"action": "withdraw_service", "before": {"status": "offered"}, "after": {"status": "withdrawn"}},
    ]
