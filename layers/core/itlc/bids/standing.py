"""Whether a bid still stands: its bidder has not left, its project was not deleted.

What is true here may change before the order is made: `orders.closing` then tells `bids.service.take_bid`.
A module of its own, for it asks `itlc_users` and MongoDB, which the other operations on bids do without.
"""

from itlc.access import Caller
from itlc.accounts.service import user_exists
from itlc.bids.schemas import BidView
from itlc.errors import Conflict, NotFound
from itlc.projects.service import own_project


def must_stand(bid: BidView) -> None:
    """Raise Conflict when the bidder or the bid's project is gone: an order made from it could never be paid, or
    would belong to no project."""
    if not user_exists(bid.bidder_id):
        raise Conflict(f"Whoever made bid {bid.id} has left: it can only be rejected.")
    if bid.project_id is not None:
        try:
            own_project(bid.project_id, Caller(bid.bidder_id))
        except NotFound as error:
            raise Conflict(f"The project that bid {bid.id} was made for is gone: it can only be rejected.") from error
