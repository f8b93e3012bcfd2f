"""What the money and the orders of a market are, said once more and as simply as can be: no stores, no messages that
are late, no ids of its own. The real thing is compared with it, step by step."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

UNDER_WAY = {"created", "in_progress", "paying"}
ENDED_WELL = {"paid", "refunded"}
CHECKINS = {
    "started": ("created", "in_progress"),
    "in_progress": ("in_progress", "in_progress"),
    "blocked": ("in_progress", "in_progress"),
    "completed": ("in_progress", "completed"),
}
"""From which state each check-in is possible, and to which it leads."""


def whole(amount: Fraction) -> int:
    """Rounded half up."""
    return int(amount + Fraction(1, 2))


@dataclass
class Person:
    """Somebody; `alive` until they leave."""

    tokens: int = 0
    alive: bool = True


@dataclass
class Topup:
    """`credited` is None until the ledger has decided."""

    user_id: int
    tokens: int
    credited: bool | None = None
    status: str = "pending"


@dataclass
class Bid:
    """What somebody offers for a service of the provider's."""

    bidder: int
    provider: int
    status: str = "open"


@dataclass
class Order:
    """Amounts are exact; `charged` is None until it is paid."""

    customer: int
    provider: int
    amount: Fraction
    status: str = "created"
    project: str | None = None
    charged: int | None = None
    rate: Fraction = Fraction(1)
    refunded: Fraction = Fraction(0)
    refunded_tokens: int = 0


@dataclass
class Payment:
    """Of these orders, at what each costs. `stage`: begun, collected, declined, settled, ended (after `declined`).
    `owed` is what is in escrow for each provider once it is settled."""

    customer: int
    costs: dict[int, int]
    rate: Fraction
    stage: str = "begun"
    refusal: int | None = None
    owed: dict[int, int] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """Tokens in escrow."""
        return sum(self.costs.values()) if self.stage == "collected" else sum(self.owed.values())

    @property
    def answer(self) -> int:
        """The status that the request gets, at this stage."""
        if self.stage == "settled":
            return 201
        return self.refusal if self.stage == "ended" and self.refusal else 202


@dataclass
class Refund:
    """A part of an order's price on its way back. `stage`: begun, moved, declined, settled, ended."""

    order_id: int
    amount: Fraction
    tokens: int
    stage: str = "begun"
    refusal: int | None = None

    @property
    def answer(self) -> int:
        """The status that the request gets, at this stage."""
        if self.stage == "settled":
            return 201
        return self.refusal if self.stage == "ended" and self.refusal else 202


class Market:
    """All of it."""

    def __init__(self) -> None:
        self.rate = Fraction(1)
        self.people: dict[int, Person] = {}
        self.topups: dict[int, Topup] = {}
        self.bids: dict[int, Bid] = {}
        self.orders: dict[int, Order] = {}
        self.projects: dict[str, int] = {}
        """Whose each is."""
        self.payments: dict[str, Payment] = {}
        self.refunds: dict[str, Refund] = {}
        self.forfeited = 0

    @property
    def escrow(self) -> int:
        """All tokens that are between two people."""
        return sum(payment.held for payment in self.payments.values())

    def alive(self) -> list[int]:
        """Those who have not left."""
        return [user_id for user_id, person in self.people.items() if person.alive]

    # Orders

    def check_in(self, order_id: int, status: str) -> int:
        """The answer's status; the order moves where that is possible."""
        order = self.orders[order_id]
        before, after = CHECKINS[status]
        if order.status != before:
            return 409
        order.status = after
        return 201

    def cancel(self, order_id: int) -> int:
        """The answer's status."""
        order = self.orders[order_id]
        if order.status not in ("created", "in_progress"):
            return 409
        order.status = "cancelled"
        return 200

    def orders_of(self, project: str) -> Iterator[tuple[int, Order]]:
        """A project's orders."""
        return ((order_id, order) for order_id, order in self.orders.items() if order.project == project)

    def project_status(self, project: str) -> str:
        """How it stands by its orders."""
        states = {order.status for _, order in self.orders_of(project)} - {"cancelled"}
        if not states:
            return "open"
        if states <= ENDED_WELL:
            return "paid"
        return "in_progress" if states & {"created", "in_progress"} else "completed"

    # Payments

    def due(self, order_id: int) -> bool:
        """Whether an order can be paid."""
        return self.orders[order_id].status == "completed"

    def due_of(self, project: str) -> list[int]:
        """The orders of a project that are to be paid; none unless it is completed."""
        if self.project_status(project) != "completed":
            return []
        return [order_id for order_id, _ in self.orders_of(project) if self.due(order_id)]

    def begin_payment(self, payment_id: str, order_ids: Iterable[int]) -> Payment:
        """These orders are being paid."""
        costs = {order_id: whole(self.orders[order_id].amount * self.rate) for order_id in order_ids}
        for order_id in costs:
            self.orders[order_id].status = "paying"
        customer = self.orders[min(costs)].customer
        self.payments[payment_id] = Payment(customer, costs, self.rate)
        return self.payments[payment_id]

    def collect(self, payment_id: str) -> None:
        """The customer's tokens go into escrow, or the payment is declined."""
        payment = self.payments[payment_id]
        payer, tokens = self.people[payment.customer], sum(payment.costs.values())
        if payment.stage != "begun":
            return
        if payer.tokens < tokens:
            payment.stage, payment.refusal = "declined", 402
        else:
            payer.tokens -= tokens
            payment.stage = "collected"

    def settle(self, payment_id: str) -> None:
        """The orders are paid; what is in escrow is the providers'."""
        payment = self.payments[payment_id]
        if payment.stage != "collected":
            return
        payment.stage = "settled"
        for order_id, cost in payment.costs.items():
            order = self.orders[order_id]
            order.status, order.charged, order.rate = "paid", cost, payment.rate
            if cost:
                payment.owed[order.provider] = payment.owed.get(order.provider, 0) + cost

    def undo(self, payment_id: str) -> None:
        """The payment came to nothing."""
        payment = self.payments[payment_id]
        if payment.stage != "declined":
            return
        payment.stage = "ended"
        for order_id in payment.costs:
            self.orders[order_id].status = "completed"

    def release(self, payment_id: str, provider: int) -> None:
        """A provider gets what is in escrow for them; the house gets it, where they have left."""
        self._get(provider, self.payments[payment_id].owed.pop(provider, 0))

    def _get(self, user_id: int, tokens: int) -> None:
        if self.people[user_id].alive:
            self.people[user_id].tokens += tokens
        else:
            self.forfeited += tokens

    # Refunds

    def tokens_back(self, order_id: int, amount: Fraction) -> int:
        """What a further refund of that amount gives back."""
        order = self.orders[order_id]
        whole_so_far = min(whole((order.refunded + amount) * order.rate), order.charged or 0)
        return max(0, whole_so_far - order.refunded_tokens)

    def refuse_refund(self, order_id: int, amount: Fraction) -> int | None:
        """The status of the answer that a refund is refused with at once; None where it begins."""
        order = self.orders[order_id]
        if order.status != "paid" or self.has_to_wait(order_id) or amount > order.amount - order.refunded:
            return 409
        return None if self.tokens_back(order_id, amount) else 422

    def has_to_wait(self, order_id: int) -> bool:
        """Whether another refund of the order is under way."""
        ours = (refund for refund in self.refunds.values() if refund.order_id == order_id)
        return any(refund.stage not in ("settled", "ended") for refund in ours)

    def begin_refund(self, refund_id: str, order_id: int, amount: Fraction) -> Refund:
        """A refund is under way."""
        self.refunds[refund_id] = Refund(order_id, amount, self.tokens_back(order_id, amount))
        return self.refunds[refund_id]

    def move(self, refund_id: str) -> None:
        """The tokens go back, or the refund is declined."""
        refund = self.refunds[refund_id]
        if refund.stage != "begun":
            return
        order = self.orders[refund.order_id]
        payer, payee = self.people[order.provider], self.people[order.customer]
        if not (payer.alive and payee.alive):
            refund.stage, refund.refusal = "declined", 409
        elif payer.tokens < refund.tokens:
            refund.stage, refund.refusal = "declined", 402
        else:
            payer.tokens -= refund.tokens
            payee.tokens += refund.tokens
            refund.stage = "moved"

    def settle_refund(self, refund_id: str) -> None:
        """The order shows what went back."""
        refund = self.refunds[refund_id]
        if refund.stage != "moved":
            return
        refund.stage = "settled"
        order = self.orders[refund.order_id]
        order.refunded += refund.amount
        order.refunded_tokens += refund.tokens
        if order.refunded == order.amount:
            order.status = "refunded"

    def undo_refund(self, refund_id: str) -> None:
        """The refund came to nothing."""
        refund = self.refunds[refund_id]
        refund.stage = "ended" if refund.stage == "declined" else refund.stage

    # Top-ups

    def credit(self, topup_id: int) -> None:
        """The ledger decides, once."""
        topup = self.topups[topup_id]
        if topup.credited is None:
            topup.credited = self.people[topup.user_id].alive
            self.people[topup.user_id].tokens += topup.tokens * topup.credited

    def end_topup(self, topup_id: int) -> None:
        """It ends as the ledger has decided; where that has not been asked, it never will be."""
        topup = self.topups[topup_id]
        topup.credited = topup.credited or False
        topup.status = "completed" if topup.credited else "failed"

    def pending(self, user_id: int | None = None) -> list[int]:
        """The top-ups that have not ended, of somebody or of all."""
        ours = self.topups.items()
        return [id for id, topup in ours if topup.status == "pending" and user_id in (None, topup.user_id)]

    # Leaving

    def leave(self, user_id: int) -> int:
        """The answer's status; who may leave forfeits their tokens, and what others owe them is waived."""
        parts = [order for order in self.orders.values() if user_id in (order.customer, order.provider)]
        if any(
            order.status in UNDER_WAY or (order.status == "completed" and order.customer == user_id) for order in parts
        ):
            return 409
        for order in parts:
            if order.status == "completed":
                order.status = "cancelled"
        person = self.people[user_id]
        person.alive, self.forfeited, person.tokens = False, self.forfeited + person.tokens, 0
        return 202

    def forget(self, user_id: int) -> None:
        """All stores have heard that somebody left."""
        for bid in self.bids.values():
            if bid.status == "open" and user_id in (bid.bidder, bid.provider):
                bid.status = "withdrawn" if user_id == bid.bidder else "rejected"
        for topup_id in self.pending(user_id):
            self.end_topup(topup_id)
        for order in self.orders.values():
            if order.customer == user_id:
                order.project = None
        self.projects = {project: owner for project, owner in self.projects.items() if owner != user_id}
