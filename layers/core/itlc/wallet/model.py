"""The rules of money: accounts, what a transfer's cause is, who can pay whom, what a refund is worth. No I/O.

Tokens are whole. An account is a name; a user's has a balance that is kept, the others are what their transfers add
up to: `house:topups` is where tokens come from, an escrow holds one order's tokens while they are being paid,
`house:forfeit` gets what belongs to nobody any more.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from itlc.errors import Conflict, InsufficientTokens, ItlcError
from itlc.fields import tokens_of

NAMESPACE = uuid.UUID("5b0c8a3e-6f0e-5f52-9a57-0d2f3c7f9b14")
MAX_TOKENS = 2**31 - 1
"""The most that a balance can hold: `users.tokens` is an INTEGER."""

Kind = Literal["topup", "payment", "refund", "funding", "release", "forfeit"]
Reason = Literal["short", "payer_gone", "payee_gone", "payee_full", "expired", "overtaken"]
"""Why tokens were not moved."""


class BalanceFull(Conflict):
    """The payee's balance would pass `MAX_TOKENS`."""


class EscrowNotHeld(Conflict):
    """An escrow does not hold the tokens that it is to give."""


def cause_id(cause: str) -> uuid.UUID:
    """The id of what a cause brings about (a transfer, an event), the same each time: `topup:7`,
    `payment:<uuid>:order:12:in`."""
    return uuid.uuid5(NAMESPACE, cause)


@dataclass(frozen=True)
class Account:
    """One side of a transfer; `user_id` where it is a user's."""

    name: str
    user_id: int | None = None

    @property
    def is_escrow(self) -> bool:
        """Whether it holds tokens between two users."""
        return self.name.startswith("escrow:")


TOPUPS = Account("house:topups")
FORFEIT = Account("house:forfeit")


def account_of(user_id: int) -> Account:
    """A user's account."""
    return Account(f"user:{user_id}", user_id)


def escrow_of(payment_id: uuid.UUID, order_id: int) -> Account:
    """The account that holds one order's tokens while a payment is under way."""
    return Account(f"escrow:{payment_id}:{order_id}")


@dataclass(frozen=True)
class Move:
    """A transfer to be made: `tokens` (> 0) from `debit` to `credit`, once for its `cause`. Into an escrow they go
    `on_behalf_of` the user who is to get them."""

    cause: str
    kind: Kind
    debit: Account
    credit: Account
    tokens: int
    order_id: int | None = None
    topup_id: int | None = None
    on_behalf_of: int | None = None

    @property
    def id(self) -> uuid.UUID:
        """The transfer's id."""
        return cause_id(self.cause)

    @property
    def user_ids(self) -> set[int]:
        """The users among its two sides."""
        return {side.user_id for side in (self.debit, self.credit) if side.user_id is not None}


class Holder(Protocol):
    """A user as the ledger sees them."""

    @property
    def tokens(self) -> int:
        """The balance."""

    @property
    def erased_at(self) -> object | None:
        """When they were erased; None for the living."""


def why_not(
    holders: Mapping[int, Holder],
    incoming: Mapping[int, int],
    *,
    on_the_way: Mapping[int, int],
    payer_id: int | None = None,
) -> Reason | None:
    """Why `payer_id` (None is the house, which always can) can not pay each user of `incoming` that many tokens; None
    when they can. `holders` are the users concerned, as far as they exist, `on_the_way` what escrows may bring them."""
    if payer_id is not None:
        payer = holders.get(payer_id)
        if payer is None or payer.erased_at is not None:
            return "payer_gone"
    for user_id, tokens in incoming.items():
        payee = holders.get(user_id)
        if payee is None or payee.erased_at is not None:
            return "payee_gone"
        if payee.tokens + on_the_way.get(user_id, 0) + tokens > MAX_TOKENS:
            return "payee_full"
    if payer_id is not None and holders[payer_id].tokens < sum(incoming.values()):
        return "short"
    return None


def refused_payment(reason: Reason, tokens: int, balance: int | None) -> ItlcError:
    """What the customer is answered when a payment of `tokens` was declined."""
    match reason:
        case "short":
            return InsufficientTokens(f"This costs {tokens} tokens; your balance is {balance}. Top up, then pay again.")
        case "payer_gone":
            return Conflict("Your account is gone: nothing was paid.")
        case "payee_gone":
            return Conflict("The provider's account is gone: nobody can be paid.")
        case "payee_full":
            return Conflict("The provider's balance is too full to take the tokens: nothing was paid.")
    return Conflict("The order could no longer be paid; the tokens went back to you.")


def refused_refund(reason: Reason, tokens: int, balance: int | None) -> ItlcError:
    """What the provider's user is answered when a refund of `tokens` was declined."""
    match reason:
        case "short":
            return InsufficientTokens(f"This gives back {tokens} tokens; your balance is {balance}. Top up first.")
        case "payer_gone":
            return Conflict("Your account is gone: nothing was given back.")
        case "payee_gone":
            return Conflict("The customer's account is gone: nobody can be given back anything.")
    return Conflict("The customer's balance is too full to take the tokens: nothing was given back.")


def failed_topup(reason: Reason) -> str:
    """Why a top-up failed, as it is shown."""
    match reason:
        case "payee_gone":
            return "the account is gone"
        case "payee_full":
            return f"the balance would pass {MAX_TOKENS:,} tokens"
    return "it could not be credited in time"


def tokens_to_give_back(
    amount: Decimal, *, refunded_amount: Decimal, refunded_tokens: int, charged: int, rate: Decimal
) -> int:
    """Whole tokens that a further refund of `amount` gives back.

    All refunds together give the sum of their amounts times `rate`, rounded half up, and never more than was charged:
    this one gives what is new of it, which may be none.
    """
    return max(0, min(tokens_of(refunded_amount + amount, rate), charged) - refunded_tokens)
