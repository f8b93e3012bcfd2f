"""What goes into and comes out of the orders' operations."""

from typing import Literal

from pydantic import Field

from itlc.fields import Amount, AmountSoFar, Input, Moment, Text, View
from itlc.orders.model import CheckinStatus, Status
from itlc.paging import PageQuery


class OrderView(View):
    """An order, as its customer and its provider see it."""

    id: int
    user_id: int = Field(description="The customer.")
    service_id: int
    project_id: str | None = Field(description="The customer's project that the bid was made for; null for none.")
    bid_id: int
    provider_id: int
    provider_user_id: int = Field(description="The user behind the provider.")
    amount: Amount
    status: Status = Field(description="How far it is; `paying` while a payment settles.")
    tokens_charged: int | None = Field(description="What the customer paid; null until paid.")
    refunded_amount: AmountSoFar = Field(description="What was given back so far, in the order's unit.")
    cancel_reason: str | None = Field(description="Why it was cancelled; null if it was not.")
    cancelled_by: int | None = Field(description="The user who cancelled it.")
    cancelled_at: Moment | None = Field(description="Null if it was not.")
    completed_at: Moment | None = Field(description="Null until then.")
    paid_at: Moment | None = Field(description="Null until then.")
    created_at: Moment
    updated_at: Moment


class OrderQuery(PageQuery):
    """Which of the caller's orders."""

    role: Literal["customer", "provider"] | None = Field(None, description="As which party; both when absent.")
    status: Status | None = Field(None, description="Only those that stand so.")


class ProjectOrderQuery(PageQuery):
    """Which of a project's orders."""

    status: Status | None = Field(None, description="Only those that stand so.")


class CancelOrder(Input):
    """Why an order is cancelled; both parties can read it."""

    reason: Text


class CheckIn(Input):
    """How the work stands."""

    status: CheckinStatus = Field(
        description="`started` first, and only first; then `in_progress` and `blocked` as often as one likes; "
        "`completed` last."
    )
    note: Text | None = Field(None, description="For the customer.")


class CheckinView(View):
    """One report of how the work stands."""

    id: int
    order_id: int
    status: CheckinStatus = Field(description="What was reported.")
    note: str | None = Field(description="Null for none.")
    created_at: Moment


Happening = Literal["bid", "order", "step_defined", "checkin", "step_completed", "payment", "refund", "cancellation"]


class TimelineEntry(View):
    """Something that happened to an order. What does not belong to its kind is null."""

    kind: Happening = Field(description="What happened.")
    at: Moment
    id: int | str = Field(description="Of the bid, order, check-in, step, payment or refund.")
    status: str | None = Field(None, description="Of a check-in, a payment, a refund.")
    amount: AmountSoFar | None = Field(None, description="Of the bid, the order, a refund.")
    tokens: int | None = Field(None, description="What a payment or refund moves.")
    step_number: int | None = Field(None, description="Of a step.")
    text: str | None = Field(None, description="A bid's message, a check-in's note, a cancellation's reason.")
