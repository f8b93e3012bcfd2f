"""What a project may be made of."""

from typing import Any

import pytest
from itlc.errors import Invalid
from itlc.projects.schemas import CreateProject
from itlc.reading import read_body
from pydantic import TypeAdapter

BODY: TypeAdapter[CreateProject] = TypeAdapter(CreateProject)


def complaints(body: Any) -> dict[str, str]:
    """What is said of each field."""
    with pytest.raises(Invalid) as raised:
        read_body(BODY, body)
    return {error.field: error.message for error in raised.value.errors}


def test_a_template_stands_in_for_words() -> None:
    assert read_body(BODY, {"template_id": 3}).name is None
    assert read_body(BODY, {"template_id": 3, "name": "Mine"}).name == "Mine"
    assert read_body(BODY, {"name": "Mine", "description": "All mine."}).service_ids == []


def test_without_one_each_missing_word_is_named() -> None:
    assert complaints({}) == {"name": "is required", "description": "is required"}
    assert complaints({"name": "Mine"}) == {"description": "is required"}
    assert set(complaints({"template_id": "three"})) == {"template_id"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"service_ids": [1, 2, 1]}, "service_ids"),
        ({"service_ids": list(range(1, 102))}, "service_ids"),
        ({"service_ids": ["1"]}, "service_ids.0"),
        ({"service_ids": [0]}, "service_ids.0"),
        ({"service_ids": None}, "service_ids"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"description": "x" * 10_001}, "description"),
        ({"owner_id": 7}, "owner_id"),
        ({"status": "paid"}, "status"),
    ],
)
def test_a_field_that_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    assert set(complaints({"name": "Mine", "description": "All mine.", **body})) == {field}


def test_a_hundred_services_are_accepted() -> None:
    body = {"name": "Mine", "description": "All mine.", "service_ids": list(range(1, 101))}
    assert len(read_body(BODY, body).service_ids) == 100
