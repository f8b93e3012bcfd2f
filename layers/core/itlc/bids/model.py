"""The rules of bidding. No I/O."""

from typing import Literal

from itlc.errors import Conflict

Status = Literal["open", "won", "rejected", "withdrawn", "expired"]


def must_be_open(status: Status, what: str) -> None:
    """Raise Conflict unless a bid is open: `what` (`withdrawn`, `turned into an order`) is done to open bids only."""
    if status == "won":
        raise Conflict(f"This bid has become an order already: it can no longer be {what}.")
    if status != "open":
        raise Conflict(f"This bid is {status}: only an open bid can be {what}.")


def must_not_be_own(bidder_id: int, provider_user_id: int) -> None:
    """Raise Conflict when somebody bids on what they offer themselves."""
    if bidder_id == provider_user_id:
        raise Conflict("This service is your own: bid on those of others.")
