"""Laying down a whole plan, as its operation does it, on real stores."""

import uuid
from datetime import datetime
from typing import Any

import pytest

from tests.support.calling import As, nobody
from tests.support.market import order_in
from tests.support.plans import diamond, lay_down, numbers, step
from tests.support.stack import Stores

customer, provider, stranger = As(1), As(2), As(3)
admin = As(9, is_admin=True)


@pytest.fixture
def order_id(stores: Stores) -> int:
    """An order of the customer's with the provider, just made."""
    return order_in("created", customer, provider)


def test_a_plan_is_laid_down_and_answered_by_number(order_id: int, stores: Stores) -> None:
    body = [
        step(2, 1, description="Plant", requirements="Roses", tell=("Eve@Example.org", "max@example.org")),
        step(1, description="Dig", hours=2.5),
    ]
    response = provider.call("define_plan", body, order_id=order_id)
    assert response.status == 200
    dig, plant = response.json
    assert uuid.UUID(plant["id"]).version == 4
    assert datetime.fromisoformat(plant.pop("created_at")).tzinfo is not None
    assert plant == {
        "id": plant["id"],
        "order_id": order_id,
        "step_number": 2,
        "description": "Plant",
        "requirements": "Roses",
        "notified_personnel": ["Eve@Example.org", "max@example.org"],
        "depends_on": [1],
        "duration_hours": 1.0,
        "completed_at": None,
    }
    assert (dig["step_number"], dig["duration_hours"], dig["depends_on"]) == (1, 2.5, [])
    kept = stores.graph("MATCH (s:OrderStep)-[:OF]->(o:Order) RETURN s, o.id AS order_id ORDER BY s.step_number")
    assert [row["order_id"] for row in kept] == [order_id, order_id]
    assert set(kept[1]["s"]) == {
        "id",
        "order_id",
        "step_number",
        "description",
        "requirements",
        "notified_personnel",
        "created_at",
        "duration_hours",
    }
    assert kept[1]["s"]["notified_personnel"] == "Eve@Example.org, max@example.org"
    (edge,) = stores.graph(
        "MATCH (a:OrderStep)-[:DEPENDS_ON]->(b:OrderStep) RETURN a.step_number AS a, b.step_number AS b"
    )
    assert edge == {"a": 2, "b": 1}


def test_duration_is_one_hour_where_it_is_left_out(order_id: int) -> None:
    body = step(1)
    del body["duration_hours"]
    assert provider.call("define_plan", [body], order_id=order_id).json[0]["duration_hours"] == 1.0


def test_a_new_plan_takes_the_place_of_the_old_one(order_id: int, stores: Stores) -> None:
    old = lay_down(provider, order_id, diamond())
    new = lay_down(provider, order_id, [step(1), step(2, 1)])
    assert not set(old) & set(new)
    assert numbers(customer, order_id) == [(1, "Part 1", []), (2, "Part 2", [1])]
    (left,) = stores.graph("MATCH (n) WHERE n:OrderStep OR n:Order RETURN count(n) AS nodes")
    assert left["nodes"] == 3
    lay_down(provider, order_id, [])
    assert stores.graph("MATCH (s:OrderStep) RETURN s") == []


def test_plans_of_different_orders_do_not_touch(order_id: int) -> None:
    other = order_in("created", customer, provider)
    lay_down(provider, order_id, diamond())
    lay_down(provider, other, [step(1, description="Other")])
    assert len(numbers(customer, order_id)) == 4
    assert numbers(customer, other) == [(1, "Other", [])]


@pytest.mark.parametrize(
    ("body", "field", "named"),
    [
        ([step(1), step(3)], "1.step_number", "step 2"),
        ([step(2)], "0.step_number", "step 1"),
        ([step(1), step(1)], "1.step_number", "step 1"),
        ([step(1), step(2, 3)], "1.depends_on", "step 2 depends on step 3"),
        ([step(1), step(2, 1, 1)], "1.depends_on", "step 2 depends on step 1"),
        ([step(1, 1)], "0.depends_on", "step 1"),
        ([step(1, 3), step(2, 1), step(3, 2)], "0.depends_on", "1 → 3 → 2 → 1"),
        ([step(1), step(2, 999)], "1.depends_on", "step 2 depends on step 999"),
        ([step(1, 0)], "0.depends_on", "step 1 depends on step 0"),
        ([step(0)], "0.step_number", "no step 0"),
        ([step(1), step(1000)], "1.step_number", "no step 1000"),
        ([step(1, hours=0)], "0.duration_hours", "greater than 0"),
        ([step(1, tell=("nobody",))], "0.notified_personnel.0", "e-mail address"),
        ([step(1, tell=(f"{'İ' * 33}@example.org",))], "0.notified_personnel.0", "lower case"),
        ([step(1, description=" ")], "0.description", "blank"),
        ([step(1, color="red")], "0.color", "not a field"),
        ([{"step_number": 1}], "0.description", "required"),
        ([step(1, tell=tuple(f"p{n}@example.org" for n in range(101)))], "0.notified_personnel", "100"),
        ([step(n) for n in range(1, 502)], "body", "500"),
        ({"steps": []}, "body", "array"),
    ],
)
def test_what_is_no_plan_is_refused_by_name_and_changes_nothing(
    order_id: int, body: Any, field: str, named: str
) -> None:
    before = lay_down(provider, order_id, diamond())
    response = provider.call("define_plan", body, order_id=order_id)
    assert response.status == 422, response.text
    errors = {error["field"]: error["message"] for error in response["errors"]}
    assert named in errors.get(field, ""), errors
    assert [one["id"] for one in customer.call("list_steps", order_id=order_id)["items"]] == before


def test_too_many_dependencies_or_addresses_in_all_are_refused(order_id: int) -> None:
    body = [step(n, *range(1, n)) for n in range(1, 103)]
    assert "5,151 dependencies" in provider.call("define_plan", body, order_id=order_id)["detail"]
    letters = "x" * 180
    body = [step(n, tell=tuple(f"{letters[:60]}{n}@{letters[:60]}{k}.org" for k in range(30))) for n in range(1, 53)]
    assert "different addresses" in provider.call("define_plan", body, order_id=order_id)["detail"]


def test_only_the_orders_provider_and_administrators_plan(order_id: int, stores: Stores) -> None:
    assert nobody.call("define_plan", diamond(), order_id=order_id).status == 401
    assert stranger.call("define_plan", diamond(), order_id=order_id).status == 404
    assert customer.call("define_plan", diamond(), order_id=order_id).status == 403
    assert provider.call("define_plan", diamond(), order_id=order_id + 1).status == 404
    assert stores.graph("MATCH (n) WHERE n:OrderStep OR n:Order RETURN n") == []
    assert admin.call("define_plan", diamond(), order_id=order_id).status == 200


@pytest.mark.parametrize(
    ("status", "answer"),
    [("created", 200), ("in_progress", 200), ("completed", 409), ("paid", 409), ("refunded", 409), ("cancelled", 409)],
)
def test_plans_are_laid_down_while_the_order_is_open(stores: Stores, status: str, answer: int) -> None:
    order_id = order_in(status, customer, provider)
    response = provider.call("define_plan", diamond(), order_id=order_id)
    assert response.status == answer
    if answer == 409:
        assert status in response["detail"]
        assert stores.graph("MATCH (s:OrderStep) RETURN s") == []


def test_a_plan_with_a_complete_step_is_not_replaced(stores: Stores) -> None:
    order_id = order_in("in_progress", customer, provider)
    first, *_ = lay_down(provider, order_id, diamond())
    assert provider.call("complete_step", order_id=order_id, step_id=first).status == 200
    response = provider.call("define_plan", [step(1)], order_id=order_id)
    assert (response.status, "step 1" in response["detail"]) == (409, True)
    assert len(numbers(customer, order_id)) == 4


def test_the_lists_etag_guards_the_plan(order_id: int) -> None:
    empty = customer.call("list_steps", order_id=order_id).headers["ETag"]
    defined = provider.call("define_plan", diamond(), headers={"if-match": empty}, order_id=order_id)
    assert defined.status == 200
    tag = customer.call("list_steps", query={"limit": 1}, order_id=order_id).headers["ETag"]
    assert defined.headers["ETag"] == tag != empty
    stale = provider.call("define_plan", [step(1)], headers={"if-match": empty}, order_id=order_id)
    assert stale.status == 412
    assert len(numbers(customer, order_id)) == 4
    added = provider.call("add_step", step(5), order_id=order_id)
    assert added.status == 201
    assert provider.call("define_plan", [], headers={"if-match": tag}, order_id=order_id).status == 412


def test_five_hundred_steps_are_laid_down_and_read(order_id: int) -> None:
    body = [step(n, *range(max(1, n - 4), n)) for n in range(1, 501)]
    assert [one["step_number"] for one in provider.call("define_plan", body, order_id=order_id).json] == list(
        range(1, 501)
    )
    pages = list(customer.pages("list_steps", query={"limit": 100}, order_id=order_id))
    assert [len(page) for page in pages] == [100] * 5
    assert pages[4][-1]["depends_on"] == [496, 497, 498, 499]
    assert provider.call("add_step", step(500), order_id=order_id).status == 409
