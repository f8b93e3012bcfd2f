"""Who is calling, and whether that is enough for what an operation asks.

Each operation declares one rule in `allow`. `anyone`, `user`, `provider` and `admin` are settled before the
view runs; the others are about an object, which the domain's service checks once it has read it.
"""

from dataclasses import dataclass
from typing import Literal

from itlc.errors import Forbidden, NotFound

Rule = Literal[
    "anyone",  # no token needed
    "user",  # anyone signed in
    "provider",  # a user who has a provider profile
    "admin",
    "owner",  # of the object
    "customer",  # of the order
    "seller",  # the order's or service's provider
    "party",  # customer or seller
    "bidder",
    "bidder or seller",
]


@dataclass(frozen=True)
class Caller:
    """Who is calling, from the access token. `user_id` is None on public operations without a token."""

    user_id: int | None = None
    session_id: str | None = None
    is_admin: bool = False
    provider_id: int | None = None
    """Filled in by the seam for operations that `allow="provider"`."""

    @property
    def id(self) -> int:
        """The caller's user id, on operations that need a token."""
        assert self.user_id is not None, "this operation is public: it has no caller"  # noqa: S101
        return self.user_id

    @property
    def name(self) -> str:
        """How idempotency keys and cursors name the caller: `user:12`, or `anyone`."""
        return f"user:{self.user_id}" if self.user_id is not None else "anyone"

    def is_one_of(self, *user_ids: int | None) -> bool:
        """Whether the caller is one of these users, or an administrator, who may do what they may."""
        return self.is_admin or self.user_id in user_ids

    def must_see(self, what: str, *user_ids: int | None) -> None:
        """Raise NotFound unless the caller is one of these users or an administrator: `what` is not theirs to see."""
        if not self.is_one_of(*user_ids):
            raise NotFound(f"There is no such {what}.")

    def must_own(self, what: str, *user_ids: int | None) -> None:
        """Raise Forbidden unless the caller is one of these users or an administrator: all may see `what`."""
        if not self.is_one_of(*user_ids):
            raise Forbidden(f"This {what} belongs to somebody else.")
