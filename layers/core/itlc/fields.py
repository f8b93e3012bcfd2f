"""The kinds of value that go in and out: text, amounts, times, ids. Schemas are made of these."""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

MAX_ID = 2**31 - 1
MAX_AMOUNT = Decimal("1000000000")
MAX_EMAIL = 254

_BIDI = {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"}


class Input(BaseModel):
    """A request body: fields that it does not know are refused, and no type is silently turned into another."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """What an operation answers. Built from a row, a document or keyword arguments."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


def _clean(text: str) -> str:
    for character in text:
        if character in "\n\t\r":
            continue
        category = unicodedata.category(character)
        if category in ("Cc", "Cs") or character in _BIDI:
            raise ValueError(f"must not contain the control character U+{ord(character):04X}")
    return text


def _not_blank(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("must not be blank")
    return text


def _one_line(text: str) -> str:
    if any(character in text for character in "\n\r\t\u2028\u2029"):
        raise ValueError("must be a single line")
    return text


def _one_kind_of_string(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


_Clean = (BeforeValidator(_one_kind_of_string), AfterValidator(_clean), AfterValidator(_not_blank))

Name = Annotated[
    str,
    *_Clean,
    AfterValidator(_one_line),
    Field(min_length=1, max_length=200, description="One line; spaces at its ends are cut off."),
]
"""One line, 1 to 200 characters."""
Text = Annotated[
    str, *_Clean, Field(min_length=1, max_length=10_000, description="Text, not blank; spaces at its ends are cut off.")
]
"""Text, 1 to 10,000 characters."""
TextOrBlank = Annotated[
    str,
    BeforeValidator(_one_kind_of_string),
    AfterValidator(_clean),
    AfterValidator(str.strip),
    Field(max_length=10_000, description="Text, or none; spaces at its ends are cut off."),
]
"""Text of at most 10,000 characters, or none."""
LongText = Annotated[
    str, *_Clean, Field(min_length=1, max_length=100_000, description="An article; spaces at its ends are cut off.")
]
"""An article, 1 to 100,000 characters."""
Words = Annotated[str, *_Clean, Field(min_length=1, max_length=200, description="Words that must all occur.")]
"""What `q` takes."""

_EMAIL = re.compile(r"[^@\s\"<>(),:;\\\[\]]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")


def _email(text: str) -> str:
    text = text.strip()
    if not _EMAIL.fullmatch(text) or ".." in text or text.startswith(".") or ".@" in text:
        raise ValueError("must be an e-mail address such as ada@example.org")
    lower = text.lower()  # as it is compared and sent on: in lower case, "İ" is two characters
    if len(lower) > MAX_EMAIL or not _EMAIL.fullmatch(lower):
        raise ValueError("must be an e-mail address that is not too long in lower case, in which İ is two characters")
    return text


Email = Annotated[
    str,
    BeforeValidator(_one_kind_of_string),
    AfterValidator(_clean),
    AfterValidator(_email),
    Field(
        max_length=MAX_EMAIL,
        description="An e-mail address, kept as written, compared without regard to case.",
        examples=["ada@example.org"],
        json_schema_extra={"format": "email"},
    ),
]
"""An e-mail address of at most 254 characters (RFC 5321), kept as written, compared without regard to case."""


def _decimal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError('must be a decimal such as "120.00"')
    text = repr(value) if isinstance(value, float) else str(value)
    if not re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", text):
        raise ValueError('must be a decimal such as "120.00"')
    if len(text.partition(".")[2]) > 2:
        raise ValueError("must have at most two places")
    return Decimal(text)


def _to_two_places(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"))


def _show_amount(value: Decimal) -> str:
    return f"{value:.2f}"


Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(gt=0, le=MAX_AMOUNT),
    AfterValidator(_to_two_places),
    PlainSerializer(_show_amount, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": int(MAX_AMOUNT), "multipleOf": 0.01},
            ],
            "examples": ["120.00"],
            "description": "A decimal above 0, at most 1,000,000,000, with at most two places.",
        },
        mode="validation",
    ),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[0-9]+\.[0-9]{2}$",
            "description": "A decimal with two places.",
            "examples": ["120.00"],
        },
        mode="serialization",
    ),
]
"""Money asked for: above 0, at most two places; a string or a number comes in, a string goes out."""
AmountSoFar = Annotated[
    Decimal,
    PlainSerializer(_show_amount, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[0-9]+\.[0-9]{2}$",
            "description": "A decimal with two places.",
            "examples": ["0.00"],
        }
    ),
]
"""Money added up, 0 at first; only ever answered."""


def _show_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_show_time, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "In UTC.",
            "examples": ["2026-11-23T20:36:10.000000Z"],
        }
    ),
]
"""A point in time, answered in RFC 3339, UTC, with `Z`."""


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return value


Id = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_whole)]
"""The id of a PostgreSQL row, in a body."""


def _digits(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,10}", value):
        raise ValueError("must be a whole number")
    return value


Digits = BeforeValidator(_digits)
"""A whole number in a query is written in digits: Python would also read ` 5`, `+5`, `5.0` and `5_0`."""
IdInQuery = Annotated[int, Field(ge=1, le=MAX_ID), Digits]
"""The id of a PostgreSQL row, as a filter."""
ObjectIdText = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$", examples=["665f1f77bcf86cd799439011"])]
"""The id of a MongoDB document, 24 hexadecimal digits."""


def tokens_of(amount: Decimal, rate: Decimal) -> int:
    """Whole tokens worth `amount` at `rate`, rounded half up (the contract's rule for orders)."""
    return int((amount * rate).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def search_words(text: str) -> list[str]:
    """The folded words of `text` (no case, no accents, the first 64 characters of each), for a multikey index: each
    once, in order of appearance."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return list(dict.fromkeys(word[:64] for word in re.findall(r"[^\W_]+", plain)))
