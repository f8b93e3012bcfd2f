"""From a request's text to typed values: JSON within its limits, models, path ids."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from itlc.errors import FieldError, Invalid, Malformed, NotFound, TooLarge, invalid
from itlc.fields import MAX_ID, Input
from itlc.settings import settings

MOST_DIGITS = 1000
"""The most digits of a whole number: far more than any field takes, and fewer than Python refuses to read."""


class NoBody(Input):
    """What an operation without a body accepts: nothing, or an empty object."""


def read_json(raw: bytes) -> Any:
    """The JSON value in a body. An empty body is an empty object.

    Raises TooLarge over `ITLC_BODY_BYTES`, Malformed when it is not JSON in UTF-8 (RFC 8259: no NaN, no Infinity),
    Invalid when it nests deeper than `ITLC_BODY_DEPTH` or holds a number of more than `MOST_DIGITS`.
    """
    if len(raw) > settings().body_bytes:
        raise TooLarge(f"The body is {len(raw):,} bytes; at most {settings().body_bytes:,} are accepted.")
    if not raw.strip():
        return {}
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("The body is not UTF-8.") from error
    if _depth(text) > settings().body_depth:
        raise invalid("body", f"nests deeper than {settings().body_depth}")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_whole_number)
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from error
    if "\\ud" in text.lower():
        _refuse_lone_surrogates(value, "")
    return value


def _refuse_lone_surrogates(value: Any, field: str) -> None:
    """Half of a surrogate pair is no character: no store keeps it."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise invalid(field or "body", "must not contain half of a surrogate pair")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        _refuse_lone_surrogates(name, field)
        _refuse_lone_surrogates(item, f"{field}.{name}".lstrip("."))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise invalid("body", f"has a number of {len(text):,} digits; at most {MOST_DIGITS:,} are accepted")
    return int(text)


def _depth(text: str) -> int:
    """How deep brackets nest outside of strings, found before parsing so that no parser has to recurse."""
    deepest = depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        match token.group()[0]:
            case "[" | "{":
                depth += 1
                deepest = max(deepest, depth)
            case "]" | "}":
                depth -= 1
    return deepest


def read_body(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The validated request model. Raises Invalid naming each field that was refused."""
    try:
        # JSON's own strictness: a string is not a number, but a string may spell a decimal or a UUID
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise _invalid(error) from error


def read_query(adapter: TypeAdapter[Any], parameters: Mapping[str, Sequence[str]] | None) -> Any:
    """The validated query model. Raises Invalid for an unknown or repeated parameter and for a bad value."""
    single: dict[str, str] = {}
    for name, values in (parameters or {}).items():
        if len(values) > 1:
            raise Invalid(f"{name}: is given more than once", FieldError(name, "is given more than once"))
        single[name] = values[0]
    try:
        return adapter.validate_python(single)
    except ValidationError as error:
        raise _invalid(error) from error


def read_path(parameters: Mapping[str, str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The path's ids as the types that the view declares. Raises NotFound for what cannot be an id."""
    return {name: _path_id(name, text, kinds.get(name, str)) for name, text in parameters.items()}


def _path_id(name: str, text: str, kind: Any) -> Any:
    missing = NotFound(f"There is no such {name.removesuffix('_id').replace('_', ' ')}.")
    if kind is int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= MAX_ID:
            raise missing
        return int(text)
    if kind is UUID:
        if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
            raise missing
        return UUID(text)
    if not re.fullmatch(r"[\x21-\x7e]{1,256}", text):
        raise missing
    return text


def _invalid(error: ValidationError) -> Invalid:
    errors = [
        FieldError(".".join(str(part) for part in item["loc"]) or "body", _message(item))
        for item in error.errors(include_url=False, include_input=False)
    ]
    return Invalid("; ".join(f"{item.field}: {item.message}" for item in errors[:5]), *errors[:50])


def _message(item: Any) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "is not a field of this operation"
        case "missing":
            return "is required"
        case _:
            return str(item["msg"]).removeprefix("Value error, ")
