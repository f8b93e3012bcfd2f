"""Keyset pages: a position instead of an offset, handed out as a signed cursor.

A list is read with `limit + 1` rows after the last position; the extra row tells whether there are more.
The cursor is that position, signed over who may use it for which list and with which filters, so that it
cannot be made up or carried to another list.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from itlc.errors import invalid
from itlc.fields import Digits
from itlc.secrets import secret

T = TypeVar("T")
Position = tuple[Any, ...]


class PageQuery(BaseModel):
    """What every list takes. A list's own filters subclass it."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Digits] = Field(20, ge=1, le=100, description="How many items at the most.")
    cursor: str | None = Field(
        None, min_length=1, max_length=1024, description="`next_cursor` of the page before; absent for the first page."
    )
    _after: Position | None = PrivateAttr(None)

    @property
    def after(self) -> Position | None:
        """The position after which this page begins, read from the cursor by the seam; None for the first page."""
        return self._after

    def begin_after(self, position: Position | None) -> None:
        """Set where the page begins (the seam does, once it has checked the cursor's signature)."""
        self._after = position

    @property
    def filters(self) -> dict[str, Any]:
        """The filters that a cursor is bound to: everything but `limit` and `cursor`."""
        return self.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_none=True)


class Page(BaseModel, Generic[T]):
    """One page of a list, as it is answered."""

    items: list[T] = Field(description="At most `limit` of them.")
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last one.")


@dataclass(frozen=True)
class Found(Generic[T]):
    """One page as a service finds it: its items, and the position of the last one where more follow.

    `extra` is what a list answers beside its items (an average, say).
    """

    items: Sequence[T]
    next: Position | None = None
    extra: Mapping[str, Any] | None = None

    def map(self, view: Callable[[T], Any]) -> "Found[Any]":
        """The same page with every item turned into its view."""
        return Found([view(item) for item in self.items], self.next, self.extra)


def cut(rows: Sequence[T], query: PageQuery, position: Callable[[T], Position]) -> Found[T]:
    """The page out of up to `limit + 1` rows: the extra one only says that there are more."""
    items = rows[: query.limit]
    return Found(items, position(items[-1]) if len(rows) > query.limit else None)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return {"t": value.isoformat()}
        case Decimal():
            return {"d": str(value)}
        case _:
            return value


def _rich(value: Any) -> Any:
    match value:
        case {"t": text}:
            return datetime.fromisoformat(text)
        case {"d": text}:
            return Decimal(text)
        case _:
            return value


def _signature(text: bytes, scope: str) -> bytes:
    key = secret("cursors")["key"].encode()
    return hmac.new(key, scope.encode() + b"\0" + text, hashlib.sha256).digest()[:16]


def write_cursor(position: Position, scope: str) -> str:
    """The opaque cursor of `position`, good for `scope` only (caller, operation, path and filters in one string)."""
    text = json.dumps([_plain(value) for value in position], separators=(",", ":")).encode()
    return _in_letters(_signature(text, scope) + text)


def _in_letters(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(cursor: str, scope: str) -> Position:
    """The position in `cursor`. Raises Invalid when it was not written for this `scope` or was tampered with."""
    refused = invalid("cursor", "is not one that this list gave out for these filters; start from the first page")
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError as error:
        raise refused from error
    if _in_letters(raw) != cursor:  # decoding passes over foreign letters, and over the last one's spare bits
        raise refused
    signature, text = raw[:16], raw[16:]
    if not hmac.compare_digest(signature, _signature(text, scope)):
        raise refused
    return tuple(_rich(value) for value in json.loads(text))
