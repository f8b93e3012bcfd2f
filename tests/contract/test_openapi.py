"""The published contract is what the operations say, is valid OpenAPI, and shows examples that it would accept."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate

from infra.local import openapi, template
from infra.local.operations import load_operations


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(openapi.DOCUMENT.read_text(encoding="utf-8"))
    return read


def each(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation of the document: its path, its method, what is said of it."""
    return [(path, method, said) for path, methods in document["paths"].items() for method, said in methods.items()]


def test_the_committed_document_is_what_the_operations_say() -> None:
    difference = openapi.difference(openapi.DOCUMENT.read_text(encoding="utf-8"), openapi.text())
    assert not difference, f"run `itlc openapi` and commit what changed:\n{difference}"


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_it_names_the_routes_of_the_template(document: dict[str, Any]) -> None:
    deployed = {
        (event["Properties"]["Path"], event["Properties"]["Method"])
        for function in template.functions(template.load()).values()
        for event in function["Properties"].get("Events", {}).values()
        if event["Type"] == "Api"
    }
    assert {(path, method) for path, method, _ in each(document)} == deployed


def test_an_operations_id_is_its_files_name(document: dict[str, Any]) -> None:
    said = {(about["tags"][0], about["operationId"]) for _, _, about in each(document)}
    assert said == {(found.domain, found.app.name) for found in load_operations() if found.app.route_spec}


def test_whoever_needs_a_token_is_told(document: dict[str, Any]) -> None:
    for path, method, said in each(document):
        public = said["security"] == []
        assert public != ("401" in said["responses"]) or path == "/sessions" or path.startswith("/sessions/"), path
        if not public:
            assert said["security"] == [{"accessToken": []}], (path, method)


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for path, method, said in each(document):
        assert said["summary"], (path, method)
        assert not said["summary"].endswith("."), (path, method)
        assert said["description"], (path, method)


def test_the_parameters_in_a_path_are_declared(document: dict[str, Any]) -> None:
    for path, method, said in each(document):
        declared = {part["name"] for part in said["parameters"] if part.get("in") == "path"}
        assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}, (path, method)
        if declared:
            assert "404" in said["responses"], (path, method)


def test_what_moves_money_requires_a_key(document: dict[str, Any]) -> None:
    required = {"$ref": "#/components/parameters/RequiredIdempotencyKey"}
    keyed = {(path, method) for path, method, said in each(document) if required in said["parameters"]}
    assert keyed >= {
        ("/orders/{order_id}/payment", "post"),
        ("/orders/{order_id}/refund", "post"),
        ("/projects/{project_id}/payment", "post"),
        ("/token-topups", "post"),
    }


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    wrong = []
    for path, method, said in each(document):
        contents = [said["requestBody"]["content"]] if "requestBody" in said else []
        contents += [answer.get("content", {}) for answer in said["responses"].values()]
        for content in contents:
            for media in content.values():
                if "example" not in media:
                    continue
                validator = Draft202012Validator({**media["schema"], "components": document["components"]})
                wrong += [
                    f"{method} {path}: {e.json_path}: {e.message}" for e in validator.iter_errors(media["example"])
                ]
    assert not wrong, "\n".join(wrong)


def test_every_refusal_is_a_problem(document: dict[str, Any]) -> None:
    for path, method, said in each(document):
        for status, answer in said["responses"].items():
            if int(status) >= 400 and (path, status) != ("/ready", "503"):
                assert answer == {"$ref": f"#/components/responses/Problem{status}"}, (path, method, status)
    for answer in document["components"]["responses"].values():
        validator = Draft202012Validator(document["components"]["schemas"]["Problem"])
        validator.validate(answer["content"]["application/problem+json"]["example"])
