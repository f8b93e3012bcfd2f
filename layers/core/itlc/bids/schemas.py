"""What goes into and comes out of the bids' operations."""

from pydantic import Field

from itlc.bids.model import Status
from itlc.fields import Amount, Input, Moment, ObjectIdText, Text, View
from itlc.paging import PageQuery


class PlaceBid(Input):
    """What the caller would pay for a service."""

    amount: Amount
    project_id: ObjectIdText | None = Field(None, description="The caller's project that the work is for.")
    message: Text | None = Field(None, description="For the provider; nobody else reads it.")


class BidView(View):
    """A bid, as its bidder and the service's provider see it."""

    id: int
    service_id: int
    project_id: str | None
    bidder_id: int
    amount: Amount
    message: str | None = Field(description="For the provider; null for none.")
    status: Status = Field(description="`won` once it has become an order.")
    order_id: int | None = Field(description="The order that it became; null until it wins.")
    created_at: Moment
    updated_at: Moment


class AnonymousBid(View):
    """A bid, as everybody else sees it: how much and when, but not whose, what for, or in which words."""

    id: int
    service_id: int
    amount: Amount
    status: Status = Field(description="`won` once it has become an order.")
    created_at: Moment


class MyBidQuery(PageQuery):
    """Which of the caller's bids."""

    status: Status | None = Field(None, description="Only those that stand so.")
