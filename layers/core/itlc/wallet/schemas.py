"""What goes into and comes out of the wallet's operations."""

import uuid
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from itlc.fields import MAX_AMOUNT, Amount, AmountSoFar, Id, Input, Moment, View
from itlc.orders.model import Status as OrderStatus
from itlc.paging import PageQuery
from itlc.wallet.model import Kind


class Balance(View):
    """What the caller has."""

    tokens: int = Field(ge=0, description="In whole tokens.")


class LedgerQuery(PageQuery):
    """Which part of the statement."""


class LedgerEntry(View):
    """One line of the caller's statement."""

    id: uuid.UUID
    kind: Kind = Field(description="What moved them.")
    direction: Literal["credit", "debit"] = Field(description="`credit` came in, `debit` went out.")
    tokens: int = Field(gt=0, description="How many, in whole tokens.")
    balance_after: int = Field(ge=0, description="The caller's balance after it.")
    order_id: int | None
    topup_id: int | None
    created_at: Moment


def _whole(amount: Decimal) -> Decimal:
    if amount != amount.to_integral_value():
        raise ValueError("must be a whole number")
    return amount


WholeAmount = Annotated[
    Amount,
    AfterValidator(_whole),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": int(MAX_AMOUNT)},
                {"type": "string", "pattern": r"^[0-9]{1,10}(\.0{1,2})?$"},
            ],
            "examples": [500],
            "description": "A whole number from 1 to 1,000,000,000.",
        },
        mode="validation",
    ),
]


class TopUp(Input):
    """How many tokens to top up, and for whom."""

    amount: WholeAmount
    user_id: Id | None = Field(None, description="Who gets them: the caller, when absent. Providers may name others.")


class TopupQuery(PageQuery):
    """Which of the caller's top-ups."""


class TopupView(View):
    """A top-up."""

    id: int
    user_id: int = Field(description="Who gets the tokens.")
    amount: Amount
    status: Literal["pending", "completed", "failed"] = Field(description="`completed` once they are in the balance.")
    created_at: Moment
    made_by: int = Field(description="The user who made it.")
    failure: str | None = Field(description="Why it failed; null unless it did.")
    settled_at: Moment | None = Field(description="When it was completed or failed; null while pending.")


class PaidOrder(View):
    """A payment that is settled."""

    order_id: int
    tokens_charged: int = Field(ge=0, description="In whole tokens.")
    balance: int = Field(ge=0, description="What the customer has left.")


class PayingOrder(View):
    """A payment that has begun and settles by itself."""

    order_id: int
    status: Literal["paying"] = Field("paying", description="It settles by itself.")


class ChargedOrder(View):
    """One order of a project's payment."""

    order_id: int
    tokens_charged: int = Field(ge=0, description="In whole tokens.")


class PaidProject(View):
    """A project's payment that is settled."""

    project_id: str
    orders: list[ChargedOrder] = Field(description="What was paid for each.")
    tokens_charged: int = Field(ge=0, description="For all orders together.")
    balance: int = Field(ge=0, description="What the customer has left.")


class PayingProject(View):
    """A project's payment that has begun and settles by itself."""

    project_id: str
    status: Literal["paying"] = Field("paying", description="It settles by itself.")


class RefundOrder(Input):
    """How much to give back."""

    amount: Amount | None = Field(None, description="In the order's unit; all that is left, when absent.")


class Refunded(View):
    """A refund that is settled."""

    id: uuid.UUID
    order_id: int
    amount: Amount
    tokens: int = Field(gt=0, description="What the customer got back by it.")
    status: Literal["settled"] = Field("settled", description="The tokens have moved.")
    order_status: OrderStatus = Field(description="`refunded` once all is back, else `paid`.")
    refunded_amount: AmountSoFar = Field(description="What was given back so far, in the order's unit.")
    refunded_tokens: int = Field(description="What was given back so far, in tokens.")
    balance: int = Field(ge=0, description="What the provider's user has left.")
    created_at: Moment


class Refunding(View):
    """A refund that has begun and settles by itself."""

    order_id: int
    status: Literal["refunding"] = Field("refunding", description="It settles by itself.")
