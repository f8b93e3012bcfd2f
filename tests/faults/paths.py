"""The paths on which money moves or messages are handled, each as one piece of work that can be cut off anywhere.

A path is a request and all that follows from it: the function's own steps, and the consumers of what it sends, with
their acknowledgements. Or it is a job, and what follows from that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from itlc import events
from itlc.aws import client
from itlc.settings import settings
from itlc.wallet.saga import Saga

from tests.faults.aftermath import let_time_pass
from tests.support.calling import As, Response, deliver, run_scheduled
from tests.support.market import open_bid, order_in, project_of, service_of
from tests.support.money import give, holder
from tests.support.plans import diamond, lay_down
from tests.support.queues import consumers, drain, receive_all, with_messages
from tests.support.stack import Stores

Begin = Callable[[], Response | None]
"""What sets the work going: a request, which may come again, or a run of a job."""


@dataclass(frozen=True)
class Market:
    """Ada buys, Bob and Cy sell."""

    stores: Stores
    ada: As
    bob: As
    cy: As

    @classmethod
    def opened(cls, stores: Stores) -> "Market":
        """A new one, in empty stores; Ada has 500 tokens."""
        stores.empty()
        market = cls(stores, holder("Ada", 500), holder("Bob"), holder("Cy"))
        drain()
        return market

    def order(self, status: str, amount: str = "120.00", **of: Any) -> int:
        """The id of a new order of Ada's with Bob, whose messages are all handled."""
        order_id = order_in(status, self.ada, self.bob, amount, **of)
        drain()
        return order_id

    def bid(self, **of: Any) -> int:
        """The id of a new bid of Ada's on a service of Bob's, whose messages are all handled."""
        bid_id = open_bid(self.ada, service_of(self.bob), **of)
        drain()
        return bid_id


Path = Callable[[Market], Begin]
PATHS: dict[str, Path] = {}


def path(prepare: Path) -> Path:
    """Add a path. `prepare` makes what the work begins with, in a new market."""
    PATHS[prepare.__name__] = prepare
    return prepare


def run_through(begin: Begin) -> Response | None:
    """Do all the work: what sets it going, then every message that follows, each acknowledged once it was handled."""
    answer = begin()
    assert answer is None or answer.status < 500, answer.text
    while waiting := with_messages():
        _handle_next(waiting[0])
    return answer


def _handle_next(queue: str) -> None:
    """Handle one message of the queue, as Lambda does. Nobody else is asking, so it needs not to be hidden from others,
    and is there again at once when this process dies."""
    sqs, url = client("sqs"), settings().queues[queue]
    received = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, MaxNumberOfMessages=1)
    for message in received["Messages"]:
        assert deliver(consumers()[queue], message["Body"]) == []
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def unsent(work: Callable[[], object]) -> None:
    """Do something whose events are written down and not sent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "send_now", lambda emitted, published: None)
        work()


def left_to_the_queue(work: Callable[[], Response]) -> None:
    """Make a request that answers 202, for its saga gets nowhere: the queue has its first message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Saga, "run", lambda saga, first, seconds: None)
        assert work().status == 202


# Payments


@path
def pay_an_order(market: Market) -> Begin:
    order_id = market.order("completed", project_id=project_of(market.ada))
    return lambda: market.ada.call("pay_order", key="k", order_id=order_id)


@path
def pay_an_order_that_costs_too_much(market: Market) -> Begin:
    order_id = market.order("completed", "501.00")
    return lambda: market.ada.call("pay_order", key="k", order_id=order_id)


@path
def pay_a_project_of_two_providers(market: Market) -> Begin:
    project_id = project_of(market.ada)
    for amount in ("120.00", "30.00"):
        market.order("completed", amount, project_id=project_id)
    order_in("completed", market.ada, market.cy, "55.50", project_id=project_id)
    drain()
    return lambda: market.ada.call("pay_project", key="k", project_id=project_id)


@path
def pay_by_the_queue_alone(market: Market) -> Begin:
    order_id = market.order("completed")
    left_to_the_queue(lambda: market.ada.call("pay_order", key="k", order_id=order_id))
    return lambda: None


@path
def resume_a_payment_whose_message_was_lost(market: Market) -> Begin:
    order_id = market.order("completed")
    left_to_the_queue(lambda: market.ada.call("pay_order", key="k", order_id=order_id))
    assert len(receive_all("payments")) == 1
    let_time_pass(market.stores, 5)
    return lambda: _job("resume_payments")


# Refunds


def _paid(market: Market) -> int:
    order_id = market.order("completed", project_id=project_of(market.ada))
    assert market.ada.call("pay_order", key="paid", order_id=order_id).status == 201
    drain()
    return order_id


@path
def refund_a_part(market: Market) -> Begin:
    order_id = _paid(market)
    return lambda: market.bob.call("refund_order", {"amount": "20.50"}, key="k", order_id=order_id)


@path
def refund_all(market: Market) -> Begin:
    order_id = _paid(market)
    return lambda: market.bob.call("refund_order", key="k", order_id=order_id)


@path
def refund_what_was_spent(market: Market) -> Begin:
    order_id = _paid(market)
    other = order_in("completed", market.bob, market.cy, "100.00")
    assert market.bob.call("pay_order", key="spent", order_id=other).status == 201
    drain()
    return lambda: market.bob.call("refund_order", key="k", order_id=order_id)


@path
def refund_by_the_queue_alone(market: Market) -> Begin:
    order_id = _paid(market)
    left_to_the_queue(lambda: market.bob.call("refund_order", key="k", order_id=order_id))
    return lambda: None


# Top-ups


@path
def top_up(market: Market) -> Begin:
    return lambda: market.ada.call("top_up", {"amount": 7}, key="k")


@path
def top_up_beyond_what_fits(market: Market) -> Begin:
    assert market.cy.user_id is not None
    for tokens in (10**9, 10**9, 147_483_647 - 6):
        give(market.cy.user_id, tokens)
    drain()
    return lambda: market.cy.call("top_up", {"amount": 7}, key="k")


@path
def expire_a_top_up_whose_message_was_lost(market: Market) -> Begin:
    assert market.ada.call("top_up", {"amount": 7}, key="k").status == 202
    assert len(receive_all("topups")) == 1
    let_time_pass(market.stores, 90)
    return lambda: _job("expire_topups")


# Bids and orders


@path
def place_a_bid(market: Market) -> Begin:
    service_id, project_id = service_of(market.bob), project_of(market.ada)
    return lambda: market.ada.call(
        "place_bid", {"amount": "9.50", "project_id": project_id}, key="k", service_id=service_id
    )


@path
def reject_a_bid(market: Market) -> Begin:
    bid_id = market.bid()
    return lambda: market.bob.call("reject_bid", key="k", bid_id=bid_id)


@path
def withdraw_a_bid(market: Market) -> Begin:
    bid_id = market.bid()
    return lambda: market.ada.call("withdraw_bid", bid_id=bid_id)


@path
def expire_bids(market: Market) -> Begin:
    for _ in range(3):
        market.bid()
    market.stores.rows("itlc_orders", "UPDATE bidding SET created_at = now() - interval '40 days'")
    return lambda: _job("expire_bids")


@path
def make_an_order(market: Market) -> Begin:
    bid_id = market.bid(project_id=project_of(market.ada))
    return lambda: market.bob.call("make_order", key="k", bid_id=bid_id)


@path
def delete_a_project(market: Market) -> Begin:
    made = market.ada.call("create_project", {"name": "A pond", "description": "A pond, at last."}, key="made")
    market.bid(project_id=made["id"])
    return lambda: market.ada.call("delete_project", project_id=made["id"])


@path
def complete_an_order(market: Market) -> Begin:
    order_id = market.order("in_progress", project_id=project_of(market.ada))
    return lambda: market.bob.call("check_in", {"status": "completed"}, key="k", order_id=order_id)


@path
def cancel_an_order(market: Market) -> Begin:
    order_id = market.order("in_progress", project_id=project_of(market.ada))
    return lambda: market.ada.call("cancel_order", {"reason": "Moved away."}, key="k", order_id=order_id)


# What is told from MongoDB and from the graph


@path
def rate_an_order(market: Market) -> Begin:
    order_id = market.order("completed")
    return lambda: market.ada.call("rate_order", {"rating": 4, "review": "On time."}, order_id=order_id)


@path
def review_a_service(market: Market) -> Begin:
    service_id = service_of(market.bob)
    market.order("completed", service_id=service_id)
    review = {"service_id": service_id, "review": "On time."}
    return lambda: market.ada.call("write_review", review, key="k")


@path
def define_a_plan(market: Market) -> Begin:
    order_id = market.order("in_progress")
    return lambda: market.bob.call("define_plan", diamond(), order_id=order_id)


@path
def complete_a_step(market: Market) -> Begin:
    order_id = market.order("in_progress")
    step_id = lay_down(market.bob, order_id, diamond())[0]
    drain()
    return lambda: market.bob.call("complete_step", key="k", order_id=order_id, step_id=step_id)


# Leaving, and the relay


@path
def erase_who_has_tokens(market: Market) -> Begin:
    market.bid(project_id=project_of(market.ada))
    assert market.ada.call("top_up", {"amount": 7}, key="k").status == 202
    assert len(receive_all("topups")) == 1
    return lambda: market.ada.call("erase_me")


@path
def relay_what_waits_in_every_kind_of_store(market: Market) -> Begin:
    order_id = market.order("completed")
    planned = market.order("in_progress")
    unsent(lambda: market.ada.call("rate_order", {"rating": 5}, order_id=order_id))
    unsent(lambda: market.ada.call("top_up", {"amount": 7}, key="k"))
    unsent(lambda: lay_down(market.bob, planned, diamond()))
    unsent(lambda: open_bid(market.ada, service_of(market.bob)))
    let_time_pass(market.stores, 5)
    return lambda: _job("relay_outbox")


def _job(name: str) -> None:
    counts: dict[str, Any] = run_scheduled(name)
    assert not counts.get("failed"), counts
