"""Builders of plans: the steps that a test lays down."""

from typing import Any

from tests.support.calling import As


def step(number: int, *after: int, hours: float = 1, tell: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """The body of a step that comes after these others."""
    return {
        "step_number": number,
        "description": f"Part {number}",
        "requirements": "",
        "notified_personnel": list(tell),
        "depends_on": list(after),
        "duration_hours": hours,
        **fields,
    }


def diamond() -> list[dict[str, Any]]:
    """Four steps: 1, then 2 (5 hours) and 3 (2 hours) side by side, then 4."""
    return [step(1, hours=2), step(2, 1, hours=5), step(3, 1, hours=2), step(4, 2, 3)]


def lay_down(provider: As, order_id: int, steps: list[dict[str, Any]]) -> list[str]:
    """Define the plan; returns the steps' ids by number."""
    response = provider.call("define_plan", steps, order_id=order_id)
    assert response.status == 200, response.text
    return [one["id"] for one in response.json]


def numbers(reader: As, order_id: int) -> list[tuple[int, str, list[int]]]:
    """What the order's plan is now: number, description and dependencies of each step, by number."""
    items = reader.call("list_steps", query={"limit": 100}, order_id=order_id)["items"]
    return [(one["step_number"], one["description"], one["depends_on"]) for one in items]
