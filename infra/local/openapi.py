"""The OpenAPI 3.1 document, made from the operations: `infra/openapi.json` is what this writes, and is committed.

Paths, methods, models, statuses and who may call are what each operation's `route` says; summaries are the first lines
of their files. Error statuses follow from the seam's rules and from the errors that the operation's code can raise.
"""

import difflib
import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args, get_origin
from uuid import UUID

from itlc import errors
from itlc.answers import STATUS
from itlc.fields import MAX_ID
from itlc.operation import Route
from itlc.paging import Page
from itlc.stores.mongo import DocumentStore
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaMode

from infra.local.examples import example
from infra.local.operations import Found, load_operations
from infra.local.reach import ROOT

DOCUMENT = ROOT / "infra" / "openapi.json"
REF = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"

TAGS = {
    "accounts": "Registering, signing in, one's own data.",
    "catalog": "Providers and the services that they offer.",
    "templates": "What projects and services can be made from.",
    "projects": "What a user plans, and the services that it uses.",
    "bids": "Users' bids on services.",
    "orders": "Orders, which come from bids, and the check-ins that report on them.",
    "plans": "The steps of an order: their plan, its progress, who is told.",
    "wallet": "Tokens: top-ups, payments, refunds, the ledger.",
    "notifications": "What a user was told.",
    "content": "Providers' blogs and FAQs.",
    "feedback": "Ratings and reviews.",
    "system": "Health, this document, checks of the whole.",
}

WHO = {
    "anyone": "Public.",
    "user": "For any signed-in user.",
    "provider": "For users with a provider profile.",
    "admin": "For administrators.",
    "owner": "For its owner.",
    "customer": "For the order's customer.",
    "seller": "For the provider.",
    "party": "For the order's customer and provider.",
    "bidder": "For the bidder.",
    "bidder or seller": "For the bidder and the service's provider.",
}

SAYS = {
    400: "It cannot be read: not JSON, or a header that is missing or malformed.",
    401: "No access token, or one that is expired, forged or of a session that has ended.",
    402: "Too few tokens.",
    403: "The caller is known, and may not do this.",
    404: "It is not there, or not the caller's to see.",
    409: "It contradicts the present state, or a request with this Idempotency-Key is still running.",
    412: "`If-Match` names another version than the present one.",
    413: "The body is too large.",
    422: "It can be read, and is not valid; `errors` names the fields.",
    429: "Asked too often.",
    503: "A store that this needs is away; repeat the request, with its Idempotency-Key if it has one.",
}
RETRY = {409, 429, 503}
PLACEHOLDER = re.compile(r"\{(\w+)\}")

HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The request's id: the one that came in, if it was a UUID, else a new one.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "ETag": {
        "description": "The version of what is answered, for `If-Match`.",
        "schema": {"type": "string", "examples": ['"a29ee2b15c494311c52521766e44af56"']},
    },
    "Location": {
        "description": "Where the new resource is, relative to the request's URL.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotency-Replayed": {
        "description": "`true` where this is the first answer, given again.",
        "schema": {"type": "string", "const": "true"},
    },
    "Retry-After": {
        "description": "Seconds to wait before asking again.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
PARAMETERS: dict[str, Any] = {
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "An id for this request, kept in its answer, its log lines and its events, if it is a UUID; "
        "anything else is passed over, and the request gets a new one.",
        "schema": {"type": "string", "examples": ["6c782c4d-26b5-417a-bb37-162a29e2854b"]},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The `ETag` that the change is made from; refused with 412 when there is a newer version.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "One for each intent: the same request with the same key is done once, and answered alike, "
        "for 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
    },
}
PARAMETERS["RequiredIdempotencyKey"] = {**PARAMETERS["IdempotencyKey"], "required": True}

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "The kind of problem.",
            "examples": ["urn:itlc:problem:invalid"],
        },
        "title": {"type": "string", "description": "The status in words.", "examples": ["Unprocessable Content"]},
        "status": {
            "type": "integer",
            "description": "The status of the response.",
            "minimum": 400,
            "maximum": 599,
            "examples": [422],
        },
        "detail": {
            "type": "string",
            "description": "What is wrong, and what to do.",
            "examples": ["amount: Input should be greater than 0"],
        },
        "instance": {
            "type": "string",
            "description": "The request's id.",
            "examples": ["6c782c4d-26b5-417a-bb37-162a29e2854b"],
        },
        "errors": {
            "type": "array",
            "description": "The fields that were refused.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {
                        "type": "string",
                        "description": "Its path; `body` for the whole.",
                        "examples": ["steps.2.amount"],
                    },
                    "message": {
                        "type": "string",
                        "description": "What is wrong with it.",
                        "examples": ["Input should be greater than 0"],
                    },
                },
            },
        },
    },
}


def document(operations: Iterable[Found] | None = None) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `operations`, by default all of `functions/`."""
    routed = [(found, found.app.route_spec) for found in (operations or load_operations())]
    routes = [(found, route) for found, route in routed if route is not None]
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for found, route in routes:
        said = paths.setdefault(route.path, {})[route.method.lower()] = _operation(found, route, schemas, components)
        if links := _links(route, routes):
            said["responses"][str(route.status)]["links"] = links
    used = {found.domain for found, _ in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ITLC",
            "version": "1",
            "summary": "A service marketplace.",
            "description": "Users plan projects and bid on services; providers turn bids into orders, plan their steps "
            "and report on them; users pay in tokens and rate the work. Lists are read page by page, by cursors; what "
            "creates or moves something takes an `Idempotency-Key`; errors are problems (RFC 9457).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to where this document is served, whatever the host or stage.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "accessToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `access_token` of `POST /sessions`.",
                }
            },
            "headers": HEADERS,
            "parameters": PARAMETERS,
            "schemas": {"Problem": PROBLEM_SCHEMA, **dict(sorted(components.items()))},
            "responses": {f"Problem{status}": _problem(status) for status in sorted(SAYS)},
        },
    }


def text(operations: Iterable[Found] | None = None) -> str:
    """The document as the file holds it: stable, indented JSON."""
    return json.dumps(document(operations), indent=1, ensure_ascii=False) + "\n"


def write(path: Path = DOCUMENT) -> bool:
    """Write the file; returns whether that changed it."""
    new = text()
    if path.is_file() and path.read_text(encoding="utf-8") == new:
        return False
    path.write_text(new, encoding="utf-8")
    return True


def difference(old: str, new: str, most_lines: int = 40) -> str:
    """What changed from one document's text to another's, as the first lines of a diff; empty when nothing did."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "committed", "now", n=1, lineterm=""))
    cut = [f"... and {len(lines) - most_lines} lines more"] if len(lines) > most_lines else []
    return "\n".join(lines[:most_lines] + cut)


Key = tuple[str, str]
"""An operation's name and what of it a schema is for: `body` or `result`."""


def _schemas(routes: list[tuple[Found, Route]]) -> tuple[dict[Key, Any], dict[str, Any]]:
    """The schema of each operation's body and result, and the components that they point to."""
    wanted: list[tuple[Key, JsonSchemaMode, TypeAdapter[Any]]] = []
    for found, route in routes:
        if route.accepts is not None:
            wanted.append(((found.app.name, "body"), "validation", route.body))
        if route.result is not None:
            wanted.append(((found.app.name, "result"), "serialization", route.result))
    by_key, definitions = TypeAdapter.json_schemas(wanted, ref_template=REF)
    schemas = {key: _without_absence(schema) for (key, _), schema in by_key.items()}
    components = _without_absence(definitions.get("$defs", {}))
    for found, route in routes:
        if route.method == "PATCH":  # what is left out stays as it is, whatever the model holds in its place
            changes = components[schemas[found.app.name, "body"]["$ref"].rpartition("/")[2]]
            changes["properties"] = {name: _without_default(part) for name, part in changes["properties"].items()}
    for component in components.values():
        for name, part in component.get("properties", {}).items():
            _describe_id(name, part)
    return schemas, components


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "default"}


def _describe_id(name: str, schema: dict[str, Any]) -> None:
    """Say of a field that holds an id whose it is, and of a row's id from where to where they go."""
    if name != "id" and not name.endswith("_id"):
        return
    nullable = {"type": "null"} in schema.get("anyOf", [])
    schema.setdefault("description", f"{_whose_id(name)[:-1]}; null for none." if nullable else _whose_id(name))
    for choice in schema.get("anyOf", [schema]):
        if choice.get("type") == "integer":
            for bound, value in (("minimum", 1), ("maximum", MAX_ID)):
                choice.setdefault(bound, value)


def _whose_id(name: str) -> str:
    """`service_id` is the service's id."""
    whose = name.removesuffix("id").rstrip("_").replace("_", " ")
    return f"The {whose}'s id." if whose else "Its id."


def _without_absence(schema: Any) -> Any:
    """The schema without the defaults that only say in Python that a field was not sent (None, and in changes '')."""
    if isinstance(schema, list):
        return [_without_absence(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    absent = "default" in schema and schema["default"] in (None, "")
    return {name: _without_absence(part) for name, part in schema.items() if not (absent and name == "default")}


def _operation(found: Found, route: Route, schemas: dict[Key, Any], components: dict[str, Any]) -> dict[str, Any]:
    name = found.app.name
    more = " ".join((route.view.__doc__ or "").split())
    parts: dict[str, Any] = {
        "operationId": name,
        "tags": [found.domain],
        "summary": found.summary,
        "description": f"{more} {WHO[route.allow]}".strip(),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(found, route)],
        "security": [] if route.allow == "anyone" else [{"accessToken": []}],
    }
    if (schema := schemas.get((name, "body"))) is not None:
        content = {"schema": schema, "example": example(schema, components)}
        parts["requestBody"] = {"required": not _may_be_empty(route), "content": {"application/json": content}}
    parts["responses"] = _responses(found, route, schemas.get((name, "result")), components)
    return parts


def _may_be_empty(route: Route) -> bool:
    """Whether the operation takes a request without a body, which is as good as an empty object."""
    try:
        route.body.validate_python({})
    except ValidationError:
        return False
    return True


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _whose_id(name) if name.endswith("_id") else f"The {name} from the mail.",
            "schema": _id_schema(name, route.path_kinds.get(name, str)),
        }
        for name in names
    ]


def _id_schema(name: str, kind: Any) -> dict[str, Any]:
    if kind is int:
        return {"type": "integer", "minimum": 1, "maximum": MAX_ID, "examples": [12]}
    if kind is UUID:
        return {"type": "string", "format": "uuid", "examples": ["0190f5a8-6f1e-7cc4-9d5e-0b6f6f1c2a77"]}
    if name.endswith("_id"):
        return {"type": "string", "pattern": "^[0-9a-f]{24}$", "examples": ["665f1f77bcf86cd799439011"]}
    return {"type": "string", "minLength": 1, "maxLength": 256}


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = _without_absence(route.parameters.json_schema(ref_template=REF))
    found = []
    for name, part in schema.get("properties", {}).items():
        required = name in schema.get("required", [])
        described = {"description": part.pop("description")} if "description" in part else {}
        part.pop("title", None)
        found.append({"name": name, "in": "query", "required": required, **described, "schema": _not_null(part)})
    return found


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is left out, never null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if not choices:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**choices[0], **rest} if len(choices) == 1 else {"anyOf": choices, **rest}


def _header_parameters(found: Found, route: Route) -> list[dict[str, Any]]:
    names = ["RequestId"]
    if route.key != "none":
        names.append("RequiredIdempotencyKey" if route.key == "required" else "IdempotencyKey")
    if 412 in _refusals(found, route):
        names.append("IfMatch")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _responses(found: Found, route: Route, result: Any, components: dict[str, Any]) -> dict[str, Any]:
    status = 204 if result is None and route.status == 200 else route.status
    responses: dict[str, Any] = {}
    for good in sorted({status, *(code for code in route.also if code < 400)}):
        # A body is what the route returns, unless the status means that there is none.
        responses[str(good)] = _success(route, good, None if good in (204, 304) else result, components)
    for code in _refusals(found, route):
        if code in route.also and result is not None and code == 503 and not found.reach.errors:
            responses[str(code)] = _success(route, code, result, components, retry=True)
        else:
            responses[str(code)] = {"$ref": f"#/components/responses/Problem{code}"}
    return responses


def _success(
    route: Route, status: int, result: Any, components: dict[str, Any], *, retry: bool = False
) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if retry:
        names.append("Retry-After")
    if (route.location or status in (200, 201)) and _is_resource(route.returns):
        names.append("ETag")
    if route.location:
        names.append("Location")
    if route.key != "none":
        names.append("Idempotency-Replayed")
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if result is not None:
        answer["content"] = {}
        for kind in route.content_types:
            if kind == "application/json":
                answer["content"][kind] = {"schema": result, "example": example(result, components)}
            else:
                answer["content"][kind] = {"schema": {"type": "string"}}
    return answer


def _links(route: Route, routes: list[tuple[Found, Route]]) -> dict[str, Any]:
    """What can be asked next of the resource that the route creates: every operation whose path begins with the new
    resource's, by the operation's name."""
    fields = PLACEHOLDER.findall(route.location or "")
    if not fields:
        return {}
    created = PLACEHOLDER.sub("{}", f"/{route.location}")
    links = {}
    for found, other in routes:
        names, shape = PLACEHOLDER.findall(other.path), PLACEHOLDER.sub("{}", other.path)
        if len(names) == len(fields) and (shape == created or shape.startswith(f"{created}/")):
            parameters = {name: f"$response.body#/{field}" for name, field in zip(names, fields, strict=True)}
            links[found.app.name] = {
                "operationId": found.app.name,
                "description": found.summary,
                "parameters": parameters,
            }
    return links


def _is_resource(returns: Any) -> bool:
    """Whether what is answered is one thing, which has a version, and not a page of them."""
    kinds = get_args(returns) or (returns,)
    origin = get_origin(returns)
    if origin in (list, dict, tuple):
        return False
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, Page) for kind in kinds)


def _refusals(found: Found, route: Route) -> list[int]:
    """Every status from 400 on that the operation may answer."""
    statuses = {code for code in route.also if code >= 400} | {422, 429}
    for name in found.reach.errors:
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.ItlcError):
            statuses.update([STATUS[base] for base in kind.__mro__ if base in STATUS][:1])
    if route.method in ("GET", "POST"):
        statuses.discard(412)  # only what changes a resource that was read looks at If-Match
    if route.method != "GET":
        statuses |= {400, 413}
    if route.allow != "anyone":
        statuses |= {401}
    if route.allow in ("provider", "admin"):
        statuses |= {403}
    if "{" in route.path:
        statuses |= {404}
    if route.key != "none":
        statuses |= {400, 409}
    if route.method in ("PUT", "PATCH", "DELETE") and isinstance(route.store, DocumentStore):
        statuses |= {409}  # others keep changing the document
    if found.reach.secrets & {"users", "api", "orders", "tokens", "templates", "mongodb", "neo4j"}:
        statuses |= {503}
    return sorted(statuses & SAYS.keys())


def _problem(status: int) -> dict[str, Any]:
    names = ["X-Request-Id", *(["Retry-After"] if status in RETRY else [])]
    shown: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": SAYS[status],
        "instance": "6c782c4d-26b5-417a-bb37-162a29e2854b",
    }
    if status == 422:
        shown["errors"] = [{"field": "amount", "message": "Input should be greater than 0"}]
    return {
        "description": SAYS[status],
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": shown}},
    }
