"""Nothing that comes in is without bounds: every string, list and number of every body and query has a largest value,
and no value of another JSON type is taken for one."""

import re
import re._parser as regex  # type: ignore[import-not-found,import-untyped,unused-ignore]
from collections.abc import Iterator
from typing import Any

import pytest
from itlc.errors import Invalid
from itlc.operation import Route
from itlc.reading import read_body

from infra.local.operations import load_operations

ROUTES: dict[str, Route] = {
    found.app.name: found.app.route_spec for found in load_operations() if found.app.route_spec is not None
}
WITH_BODY = {name: route for name, route in ROUTES.items() if route.accepts is not None}
BOUNDED_FORMATS = {"uuid"}
# What a value of each JSON type looks like; a float that is whole is still no integer.
SAMPLES: dict[str, Any] = {
    "string": "1",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


def unbounded(schema: Any, definitions: dict[str, Any], where: str) -> Iterator[str]:
    """The places of a JSON schema that would take values of any size, or anything at all."""
    if "$ref" in schema:
        yield from unbounded(definitions[schema["$ref"].rpartition("/")[2]], definitions, where)
        return
    if "enum" in schema or "const" in schema:
        return
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        for choice in choices:
            yield from unbounded(choice, definitions, where)
        return
    match schema.get("type"):
        case "string":
            pattern = schema.get("pattern")
            fixed = pattern is not None and regex.parse(pattern).getwidth()[1] < regex.MAXREPEAT
            if "maxLength" not in schema and not fixed and schema.get("format") not in BOUNDED_FORMATS:
                yield f"{where}: a string of any length"
        case "integer" | "number":
            if not {"maximum", "exclusiveMaximum"} & schema.keys():
                yield f"{where}: a number without a largest"
            if not {"minimum", "exclusiveMinimum"} & schema.keys():
                yield f"{where}: a number without a smallest"
        case "array":
            if "maxItems" not in schema:
                yield f"{where}: a list of any length"
            yield from unbounded(schema["items"], definitions, f"{where}[]")
        case "object":
            if schema.get("additionalProperties") is not False:
                yield f"{where}: fields of any name"
            for name, part in schema.get("properties", {}).items():
                yield from unbounded(part, definitions, f"{where}.{name}")
        case "boolean" | "null":
            return
        case other:
            yield f"{where}: of type {other}"


@pytest.mark.parametrize("name", ROUTES)
def test_everything_that_comes_in_has_bounds(name: str) -> None:
    route = ROUTES[name]
    for part, adapter in (("body", route.body), ("query", route.parameters)):
        schema = adapter.json_schema()
        assert list(unbounded(schema, schema.get("$defs", {}), part)) == []


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "string"}, "a string of any length"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "a string of any length"),
        ({"type": "integer", "minimum": 1}, "a number without a largest"),
        ({"type": "number", "maximum": 1}, "a number without a smallest"),
        ({"type": "array", "items": {"type": "boolean"}}, "a list of any length"),
        ({"type": "object", "properties": {}}, "fields of any name"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "a string of any length"),
        ({}, "of type None"),
    ],
)
def test_the_walk_sees(schema: dict[str, Any], found: str) -> None:
    assert list(unbounded(schema, {}, "x")) == [f"x: {found}"]


def types_of(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """The JSON types that a schema takes."""
    if "$ref" in schema:
        return types_of(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return set().union(*(types_of(choice, definitions) for choice in choices))
    if "enum" in schema or "const" in schema:
        return {"string"}
    return {schema["type"]} | ({"integer"} if schema["type"] == "number" else set())


@pytest.mark.parametrize("name", WITH_BODY)
def test_no_type_is_taken_for_another(name: str) -> None:
    adapter = WITH_BODY[name].body
    schema = adapter.json_schema()
    definitions = schema.get("$defs", {})
    is_list = schema.get("type") == "array"
    model = schema["items"] if is_list else schema
    while "$ref" in model:
        model = definitions[model["$ref"].rpartition("/")[2]]
    for field, part in model["properties"].items():
        for kind in SAMPLES.keys() - types_of(part, definitions):
            body: Any = {field: SAMPLES[kind]}
            with pytest.raises(Invalid) as refused:
                read_body(adapter, [body] if is_list else body)
            said = [error.field for error in refused.value.errors]
            place = f"0.{field}" if is_list else field
            assert any(re.match(rf"{re.escape(place)}(\.|$)", one) for one in said), f"{field} takes a {kind}: {said}"


@pytest.mark.parametrize("name", ROUTES)
def test_what_is_not_an_object_is_refused(name: str) -> None:
    takes_list = ROUTES[name].body.json_schema().get("type") == "array"
    for kind in SAMPLES.keys() - ({"array"} if takes_list else {"object"}):
        with pytest.raises(Invalid):
            read_body(ROUTES[name].body, SAMPLES[kind])
