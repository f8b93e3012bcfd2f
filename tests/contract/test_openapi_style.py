"""The published contract is pleasant to generate clients from: what linters of OpenAPI look at, as tests."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local import openapi

SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(\.json)?")
SAYS_WHAT_IT_IS = {"description", "type", "$ref", "enum", "const", "anyOf", "oneOf", "allOf"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(openapi.DOCUMENT.read_text(encoding="utf-8"))
    return read


def each(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation: where it is, and what is said of it."""
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            yield f"{method.upper()} {path}", said


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Every object in a part of the document."""
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from objects(value)
    elif isinstance(part, list):
        for value in part:
            yield from objects(value)


def schemas(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema that has properties, with where it is."""
    for name, schema in document["components"]["schemas"].items():
        for inner in objects(schema):
            if inner.get("type") == "object" and isinstance(inner.get("properties"), dict):
                yield name, inner


def test_every_operation_has_an_id_of_its_own_a_tag_a_summary_and_a_description(document: dict[str, Any]) -> None:
    ids = Counter(said["operationId"] for _, said in each(document))
    assert [name for name, times in ids.items() if times > 1 or not SNAKE.fullmatch(name)] == []
    declared = {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    for where, said in each(document):
        assert len(said["tags"]) == 1, where
        assert said["tags"][0] in declared, where
        assert len(said["summary"]) <= 140, where
        assert said["description"].endswith("."), where
    assert declared == {said["tags"][0] for _, said in each(document)}, "a tag that nothing has"


def test_paths_are_kebab_and_everything_else_is_snake(document: dict[str, Any]) -> None:
    for path in document["paths"]:
        for part in path.strip("/").split("/"):
            form = SNAKE if part.startswith("{") else KEBAB
            assert form.fullmatch(part.strip("{}")), path
        assert not path.endswith("/")
    for name, schema in schemas(document):
        for field in schema["properties"]:
            assert SNAKE.fullmatch(field) or field.isdigit(), f"{name}.{field}"
    for where, said in each(document):
        for parameter in said["parameters"]:
            if parameter.get("in") in ("query", "path"):
                assert SNAKE.fullmatch(parameter["name"]), where


def test_every_field_says_what_it_is(document: dict[str, Any]) -> None:
    for name, schema in schemas(document):
        for field, part in schema["properties"].items():
            assert part.keys() & SAYS_WHAT_IT_IS, f"{name}.{field} may be anything, and nothing says why"
            if part.get("type") == "array":
                assert "items" in part, f"{name}.{field}"
            if part.get("type") == "object":
                assert part.keys() & {"properties", "additionalProperties"}, f"{name}.{field}"
        assert set(schema.get("required", [])) <= schema["properties"].keys(), name


def test_every_field_and_every_parameter_is_described(document: dict[str, Any]) -> None:
    for name, schema in schemas(document):
        for field, part in schema["properties"].items():
            assert "$ref" in part or field.isdigit() or part.get("description", "").endswith("."), f"{name}.{field}"
    for where, said in each(document):
        for parameter in said["parameters"]:
            assert "$ref" in parameter or parameter.get("description", "").endswith("."), (where, parameter["name"])


def test_an_id_says_from_where_to_where_it_goes(document: dict[str, Any]) -> None:
    for name, schema in schemas(document):
        for field, part in schema["properties"].items():
            for choice in part.get("anyOf", [part]):
                if (field == "id" or field.endswith("_id")) and choice.get("type") == "integer":
                    assert (choice["minimum"], choice["maximum"]) == (1, 2**31 - 1), f"{name}.{field}"


def test_a_change_has_no_defaults(document: dict[str, Any]) -> None:
    """What a PATCH leaves out stays as it is."""
    for _, said in each(document):
        if said["operationId"].startswith(("change_", "mark_")) and "requestBody" in said:
            name = said["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for field, part in document["components"]["schemas"][name]["properties"].items():
                assert "default" not in part, f"{name}.{field}"


def test_every_component_is_described_and_used(document: dict[str, Any]) -> None:
    used = {found["$ref"] for found in objects(document) if isinstance(found.get("$ref"), str)}
    for kind, members in document["components"].items():
        if kind == "securitySchemes":
            continue
        for name, part in members.items():
            assert f"#/components/{kind}/{name}" in used, f"nothing points to {kind}/{name}"
            if part.get("type") == "object" and not name.startswith("Page_"):
                assert part.get("description"), f"{name} is not described"
    for reference in used:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_every_operation_says_how_it_succeeds_and_how_it_is_refused(document: dict[str, Any]) -> None:
    for where, said in each(document):
        statuses = set(said["responses"])
        assert any(status.startswith("2") for status in statuses), where
        assert {"422", "429"} <= statuses, where
        if said["security"]:
            assert "401" in statuses, where
        for status, answer in said["responses"].items():
            if "$ref" in answer:
                continue
            assert answer["description"], (where, status)
            assert "X-Request-Id" in answer["headers"], (where, status)
            if status == "204":
                assert "content" not in answer, where
            for kind, content in answer.get("content", {}).items():
                assert content["schema"], (where, status, kind)


def test_bodies_are_closed_and_answers_are_open(document: dict[str, Any]) -> None:
    """What a body does not know is refused, and says so; an answer may get more fields one day."""
    components = document["components"]["schemas"]
    for where, said in each(document):
        if "requestBody" not in said:
            continue
        assert set(said["requestBody"]["content"]) == {"application/json"}, where
        schema = said["requestBody"]["content"]["application/json"]["schema"]
        schema = schema.get("items", schema)
        assert components[schema["$ref"].rpartition("/")[2]]["additionalProperties"] is False, where


def test_what_is_created_links_to_what_can_be_done_with_it(document: dict[str, Any]) -> None:
    known = {said["operationId"]: said for _, said in each(document)}
    linked: dict[str, set[str]] = {}
    for _, said in each(document):
        for answer in said["responses"].values():
            for name, link in answer.get("links", {}).items():
                target = known[link["operationId"]]
                wanted = {part["name"] for part in target["parameters"] if part.get("in") == "path"}
                assert link["parameters"].keys() == wanted, name
                linked.setdefault(said["operationId"], set()).add(name)
    assert linked["place_bid"] >= {"read_bid", "withdraw_bid", "reject_bid", "make_order"}
    assert linked["make_order"] >= {"read_order", "check_in", "define_plan", "pay_order"}
    assert linked["add_step"] >= {"read_step", "change_step", "remove_step", "complete_step"}
    for _, said in each(document):
        headers = said["responses"].get("201", {}).get("headers", {})
        if "Location" in headers and said["operationId"] != "register_user":
            assert any(name.startswith("read_") for name in linked[said["operationId"]]), said["operationId"]


def test_a_body_is_required_where_nothing_cannot_stand_for_it(document: dict[str, Any]) -> None:
    required = {
        said["operationId"]: said["requestBody"]["required"] for _, said in each(document) if "requestBody" in said
    }
    assert required["check_in"]
    assert required["place_bid"]
    assert not required["refund_order"], "all that is left is given back"
    assert not required["change_service"], "nothing is changed"


def test_a_request_id_may_be_any_text_as_a_bad_one_is_passed_over(document: dict[str, Any]) -> None:
    assert "format" not in document["components"]["parameters"]["RequestId"]["schema"]
