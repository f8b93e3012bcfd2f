"""The market against its reference: whatever people do, in whatever order, and however late, often or rarely messages
come, each answer and everything in the stores is what `reference.Market` says.

The stores are real, and the operations are called as Lambda calls them. The post between them is in the test's hands:
it keeps each message back for as long as it likes, delivers it again, or takes none for a while.
"""

import logging
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.strategies as some
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from itlc import events
from itlc.errors import StoreAway
from itlc.events import Event
from itlc.settings import settings as of_itlc
from itlc.stores.keys import LONGEST_RUN
from itlc.wallet.saga import Saga

from tests.faults.aftermath import all_holds
from tests.faults.reference import CHECKINS, Bid, Market, Order, Payment, Person, Refund, Topup
from tests.faults.scale import FULL, scaled
from tests.support.calling import As, Response, deliver, run_scheduled
from tests.support.market import order_in, project_of, service_of
from tests.support.money import give, holder
from tests.support.queues import consumers
from tests.support.stack import Stores

EXAMPLES = scaled(full=500, share=8)
STEPS = scaled(full=100, share=30)

IN_THE_LEDGER = """
    SELECT 'tokens ' || id AS what, tokens::text AS value FROM users
    UNION ALL SELECT 'escrow', coalesce(sum(CASE WHEN credit_account LIKE 'escrow:%' THEN tokens ELSE 0 END)
        - sum(CASE WHEN debit_account LIKE 'escrow:%' THEN tokens ELSE 0 END), 0)::text FROM transfers
    UNION ALL SELECT 'forfeited', coalesce(sum(tokens), 0)::text FROM transfers WHERE credit_account = 'house:forfeit'
"""
IN_THE_ORDERS = """
    SELECT 'order ' || id AS what, concat_ws(' ', status, coalesce(tokens_charged::text, '-'),
        trim_scale(refunded_amount), refunded_tokens) AS value FROM orders
    UNION ALL SELECT 'bid ' || id, status FROM bidding
    UNION ALL SELECT 'payment ' || id, status FROM payments
    UNION ALL SELECT 'refund ' || id, status FROM refunds
"""
IN_THE_TOPUPS = "SELECT 'topup ' || id AS what, status AS value FROM token_topups"

AMOUNTS = some.sampled_from(["0.01", "0.49", "0.50", "2.50", "33.33", "100.00", "180.00"]) | some.decimals(
    "0.01", "120", places=2
).map(str)
RATES = ["1.5", "0.5", "1", "0.01", "3"]
NUMBERS = some.integers(0, 10_000)
"""One of whatever there is, by its place."""
PARTS = some.lists(some.integers(1, 50), min_size=2, max_size=4)
"""Of each hundred of an order's price so many, one after the other."""
CUTS = some.sampled_from([None, None, None, 0, 1, 2])
"""After how many steps of its own a request is cut off: the queue has to finish what it began."""


class Cut(Exception):
    """The process ends here."""


class Post:
    """What stands between an outbox and a consumer: at least once, in any order, some day."""

    def __init__(self) -> None:
        self.away = False
        self.held: list[Event] = []
        """Messages that change something, and may be delivered by a rule."""
        self.told: list[Event] = []
        """The others: delivered at the end."""

    def send(self, emitted: Sequence[Event]) -> set[str]:
        """In the place of `events.send`."""
        if self.away:
            raise StoreAway("SQS")
        for event in emitted:
            (self.held if event.queue in ("payments", "topups", "erasures", "projects") else self.told).append(event)
        return {event.id for event in emitted}


@dataclass(frozen=True)
class Request:
    """A request with a key, to be repeated: what it began, if it began something, or else what it was answered."""

    who: As
    operation: str
    body: Any
    ids: dict[str, Any]
    key: str
    began: Payment | Refund | None
    status: int
    first: tuple[str, dict[str, Any]] | None = None
    """The first message of what it began."""


@dataclass(frozen=True)
class PutOff:
    """A refund that another one stood in the way of: it may be asked for again, with the same key."""

    order_id: int
    part: int
    key: str


class People(RuleBasedStateMachine):
    """People who do what people do; `self.market` is what must come of it."""

    stores: Stores

    def __init__(self) -> None:
        super().__init__()
        self.market, self.post = Market(), Post()
        self.who: dict[int, As] = {}
        self.services: dict[int, int] = {}
        self.requests: list[Request] = []
        self.put_off: list[PutOff] = []
        self.steps_left: int | None = None
        self.stores.empty()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(events, "send", self.post.send)
        self.patch.setattr(events, "send_later", lambda event, delay: self.post.send([event]))
        self.patch.setattr(events, "bury", _refuse_to_bury)
        apply = Saga.apply

        def cut_off(saga: Saga, event: Event) -> Sequence[Event]:
            if self.steps_left == 0:
                raise Cut
            self.steps_left = None if self.steps_left is None else self.steps_left - 1
            return apply(saga, event)

        self.patch.setattr(Saga, "apply", cut_off)

    @contextmanager
    def cut_after(self, steps: int | None) -> Iterator[None]:
        """The request ends after so many steps of its saga; None is never."""
        self.steps_left = steps
        try:
            yield
        finally:
            self.steps_left = None

    # Who is there

    @initialize(
        rates=some.lists(some.sampled_from(RATES), min_size=2, max_size=2),
        amounts=some.lists(AMOUNTS, min_size=4, max_size=4),
        parts=PARTS,
    )
    def open(self, rates: list[str], amounts: list[str], parts: list[int]) -> None:
        """Four people; somebody has bought something and been given back a part, later, when a token was worth more or
        less, and has a project with two orders to be paid, one under way."""
        self.change_rate(rates[0])
        for _ in range(4):
            self.join()
        self.buy(0, 0, amounts[0], None)
        self.change_rate(rates[1])
        self.regret(0, parts)
        self.plan(0)
        for provider, status in enumerate(("completed", "completed", "in_progress")):
            self.order(0, provider, amounts[1 + provider], status, 1)

    @precondition(lambda self: len(self.market.people) < 7)
    @rule()
    def join(self) -> None:
        who = holder(f"Person{len(self.who)}")
        user_id = who.user_id
        assert user_id is not None
        self.who[user_id], self.market.people[user_id] = who, Person()
        self.services[user_id] = service_of(who)
        give(user_id, 300)
        (row,) = self.stores.rows("itlc_tokens", "SELECT max(id) AS id FROM token_topups")
        self.market.topups[row["id"]] = Topup(user_id, 300)
        self.market.credit(row["id"])
        self.market.end_topup(row["id"])

    @precondition(lambda self: len(self.market.alive()) > 2)
    @rule(which=NUMBERS, sure=some.integers(0, 4))
    def leave(self, which: int, sure: int) -> None:
        """Few go; and where they still have something to settle, they may not."""
        if sure:
            return
        user_id = _one(self.market.alive(), which)
        answer = self.who[user_id].call("erase_me")
        assert answer.status == self.market.leave(user_id), answer.text

    @rule(rate=some.sampled_from(RATES))
    def change_rate(self, rate: str) -> None:
        self.market.rate = Fraction(rate)
        self.patch.setenv("ITLC_TOKEN_RATE", rate)
        of_itlc.cache_clear()

    # Top-ups

    @rule(by=NUMBERS, to=NUMBERS, tokens=some.integers(1, 300))
    def top_up(self, by: int, to: int, tokens: int) -> None:
        maker, user_id = _one(self.market.alive(), by), _one([*self.market.people], to)
        body = {"amount": tokens, "user_id": user_id}
        key = str(uuid.uuid4())
        answer = self.who[maker].call("top_up", body, key=key)
        assert answer.status == 202, answer.text
        self.market.topups[answer["id"]] = Topup(user_id, tokens)
        self.requests.append(Request(self.who[maker], "top_up", body, {}, key, None, 202))

    @rule()
    def expire_topups(self) -> None:
        self._age("itlc_tokens", "token_topups")
        assert run_scheduled("expire_topups") == {"settled": len(self.market.pending())}
        for topup_id in self.market.pending():
            self.market.end_topup(topup_id)

    # Bids, orders, projects

    @rule(by=NUMBERS, to=NUMBERS, amount=AMOUNTS)
    def bid(self, by: int, to: int, amount: str) -> None:
        bidder, provider = self._two(by, to)
        answer = self.who[bidder].call("place_bid", {"amount": amount}, service_id=self.services[provider])
        assert answer.status == 201, answer.text
        self.market.bids[answer["id"]] = Bid(bidder, provider)

    @precondition(lambda self: self.market.bids)
    @rule(
        which=NUMBERS, way=some.sampled_from(["make_order", "withdraw_bid", "reject_bid"]), still_open=some.booleans()
    )
    def end_bid(self, which: int, way: str, still_open: bool) -> None:
        bids = self.market.bids
        bid_id = _one([id for id in bids if bids[id].status == "open" or not still_open] or [*bids], which)
        bid = bids[bid_id]
        actor, other = (bid.bidder, bid.provider) if way == "withdraw_bid" else (bid.provider, bid.bidder)
        if not self.market.people[actor].alive:
            return
        answer = self.who[actor].call(way, bid_id=bid_id)
        if bid.status != "open" or (way == "make_order" and not self.market.people[other].alive):
            assert answer.status == 409, answer.text
            return
        bid.status, expected = {
            "make_order": ("won", 201),
            "withdraw_bid": ("withdrawn", 204),
            "reject_bid": ("rejected", 200),
        }[way]
        assert answer.status == expected, answer.text
        if way == "make_order":
            order = Order(bid.bidder, bid.provider, Fraction(answer["amount"]))
            self.market.orders[answer["id"]] = order

    @rule(owner=NUMBERS)
    def plan(self, owner: int) -> None:
        user_id = _one(self.market.alive(), owner)
        self.market.projects[project_of(self.who[user_id])] = user_id

    @rule(
        by=NUMBERS,
        to=NUMBERS,
        amount=AMOUNTS,
        status=some.sampled_from(["created", "in_progress", "completed", "completed", "completed"]),
        project=NUMBERS,
    )
    def order(self, by: int, to: int, amount: str, status: str, project: int) -> None:
        customer, provider = self._two(by, to)
        theirs = [None, *[id for id, owner in self.market.projects.items() if owner == customer]]
        project_id = _one(theirs, project)
        service_id = self.services[provider]
        sides = self.who[customer], self.who[provider]
        order_id = order_in(status, *sides, amount, project_id=project_id, service_id=service_id)
        self.market.orders[order_id] = Order(customer, provider, Fraction(amount), status, project_id)
        (row,) = self.stores.rows("itlc_orders", "SELECT bid_id FROM orders WHERE id = :id", id=order_id)
        self.market.bids[row["bid_id"]] = Bid(customer, provider, "won")

    @precondition(lambda self: self.market.orders)
    @rule(which=NUMBERS, status=some.sampled_from([*CHECKINS]))
    def check_in(self, which: int, status: str) -> None:
        order_id = self._order(which, {"created", "in_progress"})
        provider = self.market.orders[order_id].provider
        answer = self.who[provider].call("check_in", {"status": status}, order_id=order_id)
        assert answer.status == self.market.check_in(order_id, status), answer.text

    @precondition(lambda self: self.market.orders)
    @rule(which=NUMBERS, by_customer=some.booleans())
    def cancel(self, which: int, by_customer: bool) -> None:
        order_id = self._order(which, {"created", "in_progress"})
        order = self.market.orders[order_id]
        party = order.customer if by_customer else order.provider
        answer = self.who[party].call("cancel_order", {"reason": "No time."}, order_id=order_id)
        assert answer.status == self.market.cancel(order_id), answer.text

    # Payments and refunds

    @precondition(lambda self: self.market.orders)
    @rule(which=NUMBERS, due=some.sampled_from([True, True, True, False]), cut=CUTS)
    def pay(self, which: int, due: bool, cut: int | None) -> None:
        order_id = self._order(which, {"completed"} if due else set())
        order = self.market.orders[order_id]
        if not self.market.people[order.customer].alive:
            return
        begins = [order_id] if self.market.due(order_id) else []
        self._pay(self.who[order.customer], "pay_order", {"order_id": order_id}, begins, cut)

    @precondition(lambda self: self.market.projects)
    @rule(which=NUMBERS, due=some.sampled_from([True, True, True, False]), cut=CUTS)
    def pay_project(self, which: int, due: bool, cut: int | None) -> None:
        owners = {id: owner for id, owner in self.market.projects.items() if self.market.people[owner].alive}
        fitting = [id for id in owners if self.market.due_of(id)] if due else []
        if owners:
            project = _one(fitting or [*owners], which)
            begins = self.market.due_of(project)
            self._pay(self.who[owners[project]], "pay_project", {"project_id": project}, begins, cut)

    @rule(by=NUMBERS, to=NUMBERS, amount=AMOUNTS, cut=CUTS)
    def buy(self, by: int, to: int, amount: str, cut: int | None) -> None:
        """An order that is completed and paid at once."""
        self.order(by, to, amount, "completed", 0)
        order_id = max(self.market.orders)
        who = self.who[self.market.orders[order_id].customer]
        self._pay(who, "pay_order", {"order_id": order_id}, [order_id], cut)

    def _pay(self, who: As, operation: str, ids: dict[str, Any], begins: list[int], cut: int | None) -> None:
        key = str(uuid.uuid4())
        with self.cut_after(cut):
            answer = who.call(operation, key=key, **ids)
        payment = first = None
        if begins:
            (row,) = self._begun("payments", answer)
            payment, first = self.market.begin_payment(row, begins), ("collect", {"payment_id": row})
            self._run(first, cut)
        self._answered(Request(who, operation, None, ids, key, payment, 409, first), answer)

    @precondition(lambda self: self.market.orders)
    @rule(which=NUMBERS, paid=some.sampled_from([True, True, True, False]), part=some.integers(0, 110), cut=CUTS)
    def refund(self, which: int, paid: bool, part: int, cut: int | None) -> None:
        self._refund(self._order(which, {"paid"} if paid else set()), part, cut)

    @precondition(lambda self: self.market.orders)
    @rule(which=NUMBERS, parts=PARTS)
    def regret(self, which: int, parts: list[int]) -> None:
        """An order's price goes back part by part."""
        order_id = self._order(which, {"paid"})
        for part in parts:
            self._refund(order_id, part, None)

    @precondition(lambda self: self.put_off)
    @rule(which=NUMBERS)
    def ask_again(self, which: int) -> None:
        """A refund that had to wait for another is asked for once more: the key has kept nothing."""
        asked = _one(self.put_off, which)
        self.put_off.remove(asked)
        self._refund(asked.order_id, asked.part, None, asked.key)

    def _refund(self, order_id: int, part: int, cut: int | None, key: str | None = None) -> None:
        order = self.market.orders[order_id]
        if not self.market.people[order.provider].alive:
            return
        cents = max(Decimal("0.01"), Decimal(int(order.amount * part)) / 100)  # of each hundred so many, and 0 is all
        amount = Fraction(cents) if part else order.amount - order.refunded
        ids: dict[str, Any] = {"order_id": order_id}
        key, who = key or str(uuid.uuid4()), self.who[order.provider]
        body = {"amount": str(cents)} if part else None
        refused = self.market.refuse_refund(order_id, amount)
        with self.cut_after(cut):
            answer = who.call("refund_order", body, key=key, **ids)
        if refused is not None and self.market.has_to_wait(order_id):
            assert answer.status == refused, answer.text
            assert "Retry-After" in answer.headers
            self.put_off.append(PutOff(order_id, part, key))
            return
        refund = first = None
        if refused is None:
            (row,) = self._begun("refunds", answer)
            refund, first = self.market.begin_refund(row, order_id, amount), ("refund", {"refund_id": row})
            self._run(first, cut)
        self._answered(Request(who, "refund_order", body, ids, key, refund, refused or 0, first), answer)

    def _begun(self, table: str, answer: Response) -> list[str]:
        known = self.market.payments if table == "payments" else self.market.refunds
        rows = [str(row["id"]) for row in self.stores.rows("itlc_orders", f"SELECT id FROM {table}")]
        new = [row for row in rows if row not in known]
        assert len(new) == 1, f"{answer.status}: {answer.text}"
        return new

    def _run(self, first: tuple[str, dict[str, Any]], steps: int | None) -> None:
        """What the request itself does of the saga, until it is cut off."""
        waiting, done = [first], 0
        while waiting and done != steps:
            waiting.extend(self._apply(*waiting.pop(0)))
            done += 1

    def _apply(self, type: str, payload: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """One message takes effect in the reference; returns what follows from it, as the request knows it."""
        market = self.market
        match type:
            case "collect":
                market.collect(payload["payment_id"])
                stage = market.payments[payload["payment_id"]].stage
                return [("collected" if stage == "collected" else "declined", payload)]
            case "collected":
                market.settle(payload["payment_id"])
                owed = sorted(market.payments[payload["payment_id"]].owed)
                return [("release", {**payload, "provider_user_id": provider}) for provider in owed]
            case "declined":
                market.undo(payload["payment_id"])
            case "release":
                market.release(payload["payment_id"], payload["provider_user_id"])
            case "refund":
                market.move(payload["refund_id"])
                stage = market.refunds[payload["refund_id"]].stage
                return [("refunded" if stage == "moved" else "refund_declined", payload)]
            case "refunded":
                market.settle_refund(payload["refund_id"])
            case "refund_declined":
                market.undo_refund(payload["refund_id"])
            case "credit":
                market.credit(payload["topup_id"])
            case "credited" | "refused":
                market.end_topup(payload["topup_id"])
            case "erase" | "erase_again":
                market.forget(payload["user_id"])
            case "progress":
                pass  # looked at when all have come
            case _:
                raise AssertionError(f"nobody should have sent a {type}")
        return []

    def _answered(self, request: Request, answer: Response) -> None:
        expected = request.began.answer if request.began else request.status
        assert answer.status == expected, f"{request}: {answer.status}, {answer.text}"
        self.requests.append(request)

    @precondition(lambda self: self.requests)
    @rule(which=NUMBERS, later=some.booleans())
    def repeat(self, which: int, later: bool) -> None:
        """The same request comes again. What the first one began and has no answer yet is left to it at first; `later`,
        when it must have ended or died, this one goes on with it."""
        request = _one(self.requests, which)
        user_id = request.who.user_id
        assert user_id is not None
        if not self.market.people[user_id].alive:
            return
        under_way = request.began is not None and request.began.answer == 202
        if under_way:
            began = "UPDATE idempotency_keys SET created_at = now() - make_interval(secs => :age) WHERE key = :key"
            age = LONGEST_RUN.total_seconds() + 1 if later else 0
            self.stores.rows("itlc_orders", began, age=age, key=request.key)
        again = request.who.call(request.operation, request.body, key=request.key, **request.ids)
        if under_way and later and request.first:
            self._run(request.first, None)
        expected = request.began.answer if request.began else request.status
        assert again.status == (409 if under_way and not later else expected), f"{request}: {again.text}"
        assert again.headers.get("Idempotency-Replayed") == (None if under_way else "true")

    # Messages

    @precondition(lambda self: self.post.held)
    @rule(which=NUMBERS, again=some.booleans())
    def deliver(self, which: int, again: bool) -> None:
        """One message comes; it may come again."""
        self._deliver(_one(self.post.held, which), again)

    @precondition(lambda self: len(self.post.held) > 5)
    @rule()
    def deliver_all(self) -> None:
        """Those that wait come, the last ones first."""
        for event in self.post.held[::-1]:
            self._deliver(event, again=False)

    def _deliver(self, event: Event, again: bool) -> None:
        failed = deliver(consumers()[event.queue], event.body())
        # Who is erased is erased once more later, of which a message has to tell: without the queues it comes again.
        not_taken = self.post.away and event.type == "erase"
        assert bool(failed) == not_taken, event.type
        if not (again or failed):
            self.post.held.remove(event)
        self._apply(event.type, event.payload)

    @rule()
    def the_queues_go_away_or_come_back(self) -> None:
        self.post.away = not self.post.away

    @rule()
    def relay(self) -> None:
        for database in ("itlc_users", "itlc_orders", "itlc_tokens"):
            self.stores.rows(database, "UPDATE outbox SET claimed_until = now() - interval '1 second'")
        run_scheduled("relay_outbox")

    @rule()
    def resume(self) -> None:
        for database, table in (
            ("itlc_orders", "payments"),
            ("itlc_orders", "refunds"),
            ("itlc_users", "full_escrows"),
        ):
            self._age(database, table)
        assert run_scheduled("resume_payments")["left"] == 0

    def _age(self, database: str, table: str) -> None:
        self.stores.rows(database, f"UPDATE {table} SET created_at = created_at - interval '61 minutes'")

    # What must be true

    @invariant()
    def everything_is_as_the_reference_says(self) -> None:
        real: dict[str, str] = {}
        for database, query in (
            ("itlc_users", IN_THE_LEDGER),
            ("itlc_orders", IN_THE_ORDERS),
            ("itlc_tokens", IN_THE_TOPUPS),
        ):
            real |= {row["what"]: row["value"] for row in self.stores.rows(database, query)}
        assert real == self._expected()

    def _expected(self) -> dict[str, str]:
        market = self.market
        return {
            **{f"tokens {id}": str(person.tokens) for id, person in market.people.items()},
            "escrow": str(market.escrow),
            "forfeited": str(market.forfeited),
            **{f"order {id}": _shown(order) for id, order in market.orders.items()},
            **{f"bid {id}": bid.status for id, bid in market.bids.items()},
            **{f"payment {id}": _PAYMENTS.get(one.stage, "paying") for id, one in market.payments.items()},
            **{f"refund {id}": _PAYMENTS.get(one.stage, "refunding") for id, one in market.refunds.items()},
            **{f"topup {id}": topup.status for id, topup in market.topups.items()},
        }

    def teardown(self) -> None:
        """In the end every message comes: then nothing is under way, and all stores agree."""
        try:
            if sys.exc_info()[0] is None:  # nothing has failed before
                self._come_to_rest()
        finally:
            self.patch.undo()
            of_itlc.cache_clear()

    def _come_to_rest(self) -> None:
        self.post.away = False
        self.relay()
        while self.post.held or self.post.told:
            told, self.post.told = self.post.told, []
            for queue in sorted({event.queue for event in told}):
                bodies = [event.body() for event in told if event.queue == queue]
                assert deliver(consumers()[queue], *bodies) == []
            for event in [*self.post.held]:
                self._deliver(event, again=False)
        self.everything_is_as_the_reference_says()
        market = self.market
        assert not market.escrow
        assert {payment.stage for payment in market.payments.values()} <= {"settled", "ended"}
        assert {refund.stage for refund in market.refunds.values()} <= {"settled", "ended"}
        for project, owner in market.projects.items():
            shown = self.who[owner].call("read_project", project_id=project)
            assert shown["status"] == market.project_status(project)
        all_holds(self.stores)

    def _two(self, one: int, other: int) -> tuple[int, int]:
        """Two different people who have not left."""
        alive = self.market.alive()
        first = _one(alive, one)
        return first, _one([user_id for user_id in alive if user_id != first], other)

    def _order(self, which: int, statuses: set[str]) -> int:
        """An order in one of these states, if there is any; else whichever."""
        orders = self.market.orders
        fitting = [id for id in orders if orders[id].status in statuses]
        return int(_one(fitting or [*orders], which))


_PAYMENTS = {"settled": "settled", "ended": "declined"}


def _shown(order: Order) -> str:
    charged = "-" if order.charged is None else order.charged
    refunded = Decimal(int(order.refunded * 100)) / 100
    return f"{order.status} {charged} {refunded.normalize():f} {order.refunded_tokens}"


def _one(things: Sequence[Any], which: int) -> Any:
    return things[which % len(things)]


def _refuse_to_bury(queue: str, body: str, reason: str) -> None:
    raise AssertionError(f"a message of {queue} was taken for poison: {reason}: {body}")


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nothing is logged: it would be millions of lines."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(scaled(full=14_400, share=300))
@pytest.mark.usefixtures("quiet")
def test_the_market_is_what_the_reference_says(all_stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    class Here(People):
        stores = all_stores

    began = time.monotonic()
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=not FULL,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[*HealthCheck],
        ),
    )
    if FULL:
        with capsys.disabled():
            took = time.monotonic() - began
            print(f"\nmodel: {EXAMPLES} examples of up to {STEPS} steps in {took:.0f} s")  # noqa: T201
