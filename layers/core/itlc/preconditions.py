"""ETags and `If-Match`: a change that names the version it was made from is refused when that one is gone."""

import hashlib
import json
from typing import Any

from itlc.errors import PreconditionFailed


def etag(view: Any) -> str:
    """The strong ETag of a view: a hash of what it says, without the fields that its class names as `volatile`
    (those that change by others' doing, such as a service's rating)."""
    left_out = set(getattr(type(view), "volatile", ()))
    text = json.dumps(view.model_dump(mode="json", exclude=left_out), sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


class IfMatch:
    """The request's `If-Match` header, if there was one. A weak tag (`W/"…"`) matches nothing (RFC 9110, 13.1.1): it
    says that two versions are as good as the same, and a change needs the very same."""

    def __init__(self, header: str | None) -> None:
        self.wanted = None if header is None else [tag.strip() for tag in header.split(",")]

    def check(self, view: Any) -> None:
        """Raise PreconditionFailed when the request named other versions than that of `view`, the present one; any
        version is another where there is none (`view` is None)."""
        if self.wanted is None:
            return
        if view is None:
            raise PreconditionFailed("There is no version of it yet: leave out If-Match to make the first.")
        if "*" not in self.wanted and etag(view) not in self.wanted:
            raise PreconditionFailed("It has changed since you read it. Read it again, then repeat your change.")
