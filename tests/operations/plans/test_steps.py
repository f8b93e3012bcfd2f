"""Adding, changing, removing, completing and reading single steps, on real stores."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.calling import As
from tests.support.market import order_in
from tests.support.plans import diamond, lay_down, numbers, step
from tests.support.stack import Stores

customer, provider, stranger = As(1), As(2), As(3)
admin = As(9, is_admin=True)


@pytest.fixture
def order_id(stores: Stores) -> int:
    """An order in progress of the customer's with the provider."""
    return order_in("in_progress", customer, provider)


@pytest.fixture
def ids(order_id: int) -> list[str]:
    """The steps of its plan, a diamond."""
    return lay_down(provider, order_id, diamond())


def test_a_step_is_added_at_the_end_of_no_plan(order_id: int) -> None:
    response = provider.call("add_step", step(1), order_id=order_id)
    assert response.status == 201
    assert response.headers["Location"] == f"../../orders/{order_id}/steps/{response['id']}"
    assert (
        response.headers["ETag"]
        == customer.call("read_step", order_id=order_id, step_id=response["id"]).headers["ETag"]
    )
    assert numbers(customer, order_id) == [(1, "Part 1", [])]


def test_a_step_added_at_a_taken_number_moves_the_others_and_their_dependencies(order_id: int, ids: list[str]) -> None:
    response = provider.call("add_step", step(2, 1, 2, description="New"), order_id=order_id)
    assert (response.status, response["step_number"]) == (201, 2)
    assert response["depends_on"] == [1, 3], "its dependencies name the numbers as they were before"
    assert numbers(customer, order_id) == [
        (1, "Part 1", []),
        (2, "New", [1, 3]),
        (3, "Part 2", [1]),
        (4, "Part 3", [1]),
        (5, "Part 4", [3, 4]),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (step(6), "step_number"),
        (step(5, 5), "depends_on"),
        (step(5, 1, 1), "depends_on"),
        ({**step(5), "amount": "1.00"}, "amount"),
    ],
)
def test_a_step_that_does_not_fit_is_not_added(order_id: int, ids: list[str], body: Any, field: str) -> None:
    response = provider.call("add_step", body, order_id=order_id)
    assert (response.status, [error["field"] for error in response["errors"]]) == (422, [field])
    assert len(numbers(customer, order_id)) == 4


def test_a_repeated_key_adds_one_step(order_id: int, ids: list[str], stores: Stores) -> None:
    first = provider.call("add_step", step(1, description="New"), key="k", order_id=order_id)
    again = provider.call("add_step", step(1, description="New"), key="k", order_id=order_id)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert again.headers["Location"] == first.headers["Location"]
    assert provider.call("add_step", step(1), key="k", order_id=order_id).status == 422
    assert len(numbers(customer, order_id)) == 5
    assert len(stores.graph("MATCH (k:IdempotencyKey) RETURN k.identity")) == 1


def test_a_refusal_is_replayed_under_its_key_too(order_id: int) -> None:
    refused = provider.call("add_step", step(2), key="k", order_id=order_id)
    assert refused.status == 422
    lay_down(provider, order_id, [step(1)])
    again = provider.call("add_step", step(2), key="k", order_id=order_id)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (422, refused.text, "true")


def test_any_field_but_the_number_is_changed(order_id: int, ids: list[str], stores: Stores) -> None:
    at: dict[str, Any] = {"order_id": order_id, "step_id": ids[3]}
    change = {"description": "Finish", "requirements": "Paint", "notified_personnel": ["a@b.org"], "duration_hours": 4}
    before = provider.call("read_step", **at)
    response = provider.call("change_step", change, **at)
    assert response.status == 200
    assert response.json == {**before.json, **change}
    assert provider.call("change_step", {"depends_on": [3, 1]}, **at)["depends_on"] == [1, 3]
    assert provider.call("read_step", **at).json == {**before.json, **change, "depends_on": [1, 3]}
    assert provider.call("change_step", {}, **at).json == {**before.json, **change, "depends_on": [1, 3]}
    (edges,) = stores.graph("MATCH (s {id: $id})-[r:DEPENDS_ON]->() RETURN count(r) AS count", id=ids[3])
    assert edges["count"] == 2


@pytest.mark.parametrize(
    ("change", "field", "named"),
    [
        ({"step_number": 2}, "step_number", "not a field"),
        ({"depends_on": [4]}, "depends_on", "1 → 4 → 2 → 1"),
        ({"depends_on": [1]}, "depends_on", "step 1 depends on itself"),
        ({"depends_on": [9]}, "depends_on", "step 9"),
        ({"duration_hours": None}, "duration_hours", "number"),
        ({"notified_personnel": ["a"]}, "notified_personnel.0", "e-mail"),
    ],
)
def test_a_bad_change_is_refused_by_name(order_id: int, ids: list[str], change: Any, field: str, named: str) -> None:
    before = numbers(customer, order_id)
    response = provider.call("change_step", change, order_id=order_id, step_id=ids[0])
    assert response.status == 422
    (error,) = response["errors"]
    assert (error["field"], named in error["message"]) == (field, True), error
    assert numbers(customer, order_id) == before


def test_a_change_or_removal_needs_the_version_it_was_made_from(order_id: int, ids: list[str]) -> None:
    at: dict[str, Any] = {"order_id": order_id, "step_id": ids[3]}
    tag = {"if-match": customer.call("read_step", **at).headers["ETag"]}
    assert provider.call("change_step", {"description": "A"}, headers=tag, **at).status == 200
    assert provider.call("change_step", {"description": "B"}, headers=tag, **at).status == 412
    assert provider.call("remove_step", headers=tag, **at).status == 412
    tag = {"if-match": customer.call("read_step", **at).headers["ETag"]}
    assert provider.call("remove_step", headers=tag, **at).status == 204


def test_removing_a_step_closes_the_gap(order_id: int, stores: Stores) -> None:
    ids = lay_down(provider, order_id, [step(1), step(2), step(3, 1), step(4, 3)])
    response = provider.call("remove_step", order_id=order_id, step_id=ids[1])
    assert (response.status, response.text) == (204, "")
    assert numbers(customer, order_id) == [(1, "Part 1", []), (2, "Part 3", [1]), (3, "Part 4", [2])]
    assert customer.call("read_step", order_id=order_id, step_id=ids[1]).status == 404
    assert provider.call("remove_step", order_id=order_id, step_id=ids[1]).status == 404
    assert len(stores.graph("MATCH (s:OrderStep) RETURN s.id")) == 3


def test_a_step_that_others_depend_on_is_not_removed(order_id: int, ids: list[str]) -> None:
    response = provider.call("remove_step", order_id=order_id, step_id=ids[0])
    assert (response.status, "steps 2 and 3" in response["detail"]) == (409, True)
    assert len(numbers(customer, order_id)) == 4


def test_steps_are_completed_after_those_they_depend_on(order_id: int, ids: list[str]) -> None:
    def complete(number: int) -> Any:
        return provider.call("complete_step", order_id=order_id, step_id=ids[number - 1])

    early = complete(4)
    assert (early.status, "steps 2 and 3" in early["detail"]) == (409, True)
    response = complete(1)
    assert response.status == 200
    assert abs((datetime.now(UTC) - datetime.fromisoformat(response["completed_at"])).total_seconds()) < 60
    assert customer.call("read_step", order_id=order_id, step_id=ids[0]).json == response.json
    assert complete(2).status == 200
    still = complete(4)
    assert (still.status, "step 3" in still["detail"], "step 2" in still["detail"]) == (409, True, False)
    assert [complete(3).status, complete(4).status] == [200, 200]
    assert customer.call("show_plan", order_id=order_id)["progress"] == 1


def test_a_complete_step_stays_as_it_is(order_id: int, ids: list[str]) -> None:
    at: dict[str, Any] = {"order_id": order_id, "step_id": ids[0]}
    first = provider.call("complete_step", key="k", **at)
    assert provider.call("complete_step", **at).status == 409
    assert provider.call("change_step", {"description": "Other"}, **at).status == 409
    assert provider.call("remove_step", **at).status == 409
    again = provider.call("complete_step", key="k", **at)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (200, first.text, "true")
    assert provider.call("complete_step", {"note": "x"}, order_id=order_id, step_id=ids[1]).status == 422
    added = provider.call("add_step", step(1), order_id=order_id)
    assert added.status == 201, "steps may still be added around it"
    assert customer.call("read_step", **at)["step_number"] == 2


@pytest.mark.parametrize("status", ["created", "completed", "paying", "paid", "refunded", "cancelled"])
def test_what_the_orders_state_forbids(stores: Stores, status: str) -> None:
    order_id = order_in("created", customer, provider)
    ids = lay_down(provider, order_id, diamond())
    stores.rows("itlc_orders", "UPDATE orders SET status = :status WHERE id = :id", status=status, id=order_id)
    at: dict[str, Any] = {"order_id": order_id, "step_id": ids[0]}
    assert provider.call("complete_step", **at).status == 409
    planning = 409 if status != "created" else None
    for response, allowed in (
        (provider.call("add_step", step(5), order_id=order_id), 201),
        (provider.call("change_step", {"description": "New"}, **at), 200),
        (provider.call("remove_step", order_id=order_id, step_id=ids[3]), 204),
    ):
        assert response.status == (planning or allowed), response.text
    assert customer.call("list_steps", order_id=order_id).status == 200, "it can be read all the same"


def test_who_may_do_what(order_id: int, ids: list[str]) -> None:
    at: dict[str, Any] = {"order_id": order_id, "step_id": ids[0]}
    attempts: list[tuple[str, Any, dict[str, Any]]] = [
        ("add_step", step(1), {"order_id": order_id}),
        ("change_step", {"description": "Mine"}, at),
        ("remove_step", None, at),
        ("complete_step", None, at),
    ]
    for name, body, path in attempts:
        assert customer.call(name, body, **path).status == 403, name
        assert stranger.call(name, body, **path).status == 404, name
        assert As().call(name, body, **path).status == 401, name
    for name, path in (
        ("list_steps", {"order_id": order_id}),
        ("read_step", at),
        ("show_plan", {"order_id": order_id}),
    ):
        assert stranger.call(name, **path).status == 404, name
        assert As().call(name, **path).status == 401, name
        assert [who.call(name, **path).status for who in (customer, provider, admin)] == [200, 200, 200], name
    assert admin.call("complete_step", **at).status == 200


def test_a_step_is_found_under_its_own_order_only(order_id: int, ids: list[str]) -> None:
    other = order_in("in_progress", customer, provider)
    lay_down(provider, other, [step(1)])
    for name in ("read_step", "change_step", "remove_step", "complete_step"):
        for order, step_id in ((other, ids[0]), (order_id, uuid.uuid4()), (order_id, "1"), (10**9, ids[0])):
            assert provider.call(name, order_id=order, step_id=step_id).status == 404, (name, order, step_id)


def test_steps_are_listed_by_number_though_steps_are_added_and_removed_meanwhile(order_id: int) -> None:
    ids = lay_down(provider, order_id, [step(n) for n in range(1, 8)])

    def page(cursor: str | None) -> Any:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        return customer.call("list_steps", query=query, order_id=order_id)

    first = page(None)
    assert [item["id"] for item in first["items"]] == ids[:3]
    assert provider.call("add_step", step(1, description="New"), order_id=order_id).status == 201
    second = page(first["next_cursor"])
    assert [item["id"] for item in second["items"]] == ids[3:6], "none twice, none left out"
    assert provider.call("remove_step", order_id=order_id, step_id=ids[5]).status == 204
    third = page(second["next_cursor"])
    assert ([item["id"] for item in third["items"]], third["next_cursor"]) == (ids[6:], None)
    assert provider.call("list_steps", query={"cursor": first["next_cursor"]}, order_id=order_id).status == 422


def test_the_timeline_gets_its_events(order_id: int, ids: list[str]) -> None:
    from itlc.plans.service import step_events

    done = provider.call("complete_step", order_id=order_id, step_id=ids[0])
    events = step_events(order_id)
    assert [(event["kind"], event["step_number"]) for event in events] == [
        *(("step_defined", number) for number in range(1, 5)),
        ("step_completed", 1),
    ]
    assert events[-1]["at"] == datetime.fromisoformat(done["completed_at"])
    assert events[-1]["step_id"] == ids[0]
    assert step_events(order_id + 1) == []
