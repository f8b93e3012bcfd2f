"""From what a view returns, or raises, to the response: bodies, problems, headers."""

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from itlc import errors
from itlc.idempotency import Answer
from itlc.paging import Found, write_cursor
from itlc.preconditions import etag
from itlc.settings import settings

STATUS = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.InsufficientTokens: 402,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.StoreAway: 503,
}
EXPOSED = "ETag, Location, Retry-After, X-Request-Id, Idempotency-Replayed"


@dataclass(frozen=True)
class Reply:
    """What a view returns when the route's usual status or content type does not fit."""

    body: Any
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


def status_of(error: Exception) -> int:
    """The HTTP status of an error: that of the nearest class in its MRO, else 500."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(error: Exception, request_id: str) -> Answer:
    """The RFC 9457 problem of an error. What is not one of ours says no more than that something broke."""
    status = status_of(error)
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    headers = {"Content-Type": "application/problem+json"}
    if isinstance(error, errors.ItlcError):
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
        body |= {"type": f"urn:itlc:problem:{kebab}", "detail": error.detail}
        if retry_after := getattr(error, "retry_after", None):
            headers["Retry-After"] = str(retry_after)
    else:
        body["detail"] = "Something broke on our side; it has been logged under this request's id."
    body["instance"] = request_id
    if isinstance(error, errors.Invalid):
        body["errors"] = [{"field": item.field, "message": item.message} for item in error.errors]
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(status, json.dumps(body), headers)


def answer(
    result: Any, *, adapter: TypeAdapter[Any] | None, status: int, location: str | None, path: str, scope: str
) -> Answer:
    """The response to what a view returned: a model, a page (`Found`), a `Reply` around either, or None.

    `location` is a pattern over the result's fields (`services/{id}`), `path` the request's path, `scope` what a
    page's cursor is bound to.
    """
    headers: dict[str, str] = {}
    if isinstance(result, Reply):
        status, headers, result = result.status or status, dict(result.headers), result.body
    if result is None or adapter is None:
        return Answer(204 if status == 200 else status, "" if result is None else str(result), headers)
    if isinstance(result, Found):
        cursor = write_cursor(result.next, scope) if result.next is not None else None
        page = {"items": result.items, "next_cursor": cursor, **(result.extra or {})}
        body = adapter.dump_json(adapter.validate_python(page, from_attributes=True)).decode()
    elif isinstance(result, str):
        body = result
    else:
        body = adapter.dump_json(result).decode()
        if isinstance(result, BaseModel) and (location or status in (200, 201)):
            headers["ETag"] = etag(result)
            if location:
                headers["Location"] = relative(path, location.format_map(dict(result)))
    headers.setdefault("Content-Type", "application/json")
    return Answer(status, body, headers)


def relative(path: str, target: str) -> str:
    """`target` (from the API's root) as a reference relative to the request's `path`, so that it resolves under
    whatever stage or host the API is reached by (RFC 3986, section 5.2)."""
    return "../" * (path.strip("/").count("/")) + target


def with_standing_headers(own: dict[str, str], request_id: str) -> dict[str, str]:
    """A response's own headers with those of every response: the request's id, CORS, and that nothing is to be
    cached. `Vary` names what either says."""
    headers = {
        "X-Request-Id": request_id,
        "Access-Control-Allow-Origin": settings().cors_origin,
        "Access-Control-Expose-Headers": EXPOSED,
        "Cache-Control": "no-store",
        **own,
    }
    if settings().cors_origin != "*":
        headers["Vary"] = ", ".join(filter(None, ("Origin", own.get("Vary"))))
    return headers
