"""Queues deliver each message at least once, in no order, and sometimes what no message should be.

Every message of a busy market is delivered between one and five times, some of them much later than the others, all
shuffled, in batches of ten, with one in a hundred that can never be handled. What follows from them is delivered in the
same way, until nothing new follows; and two weeks later all of them come once more, as out of a dead-letter queue. Then
the market is where it is when each message comes once, in its order, and each poison is in its queue's dead-letter
queue, with the reason.
"""

import json
import random
import uuid
from collections import Counter
from functools import partial
from typing import Any

import pytest

from tests.faults.aftermath import all_holds, let_time_pass, seen
from tests.faults.paths import left_to_the_queue
from tests.faults.scale import scaled
from tests.support.calling import As, deliver, run_scheduled
from tests.support.market import order_in, project_of
from tests.support.money import holder
from tests.support.queues import consumers, drain, receive_all, take_dead_letters
from tests.support.stack import Stores

TRADES = scaled(full=600, share=12)
"""How many times everything happens that sends messages: about 17 of them each."""
MESSAGES = scaled(full=10_000, share=200)
"""How many messages that are, at least."""
SEEDS = range(scaled(full=3, share=1))
BATCH = 10
TWO_WEEKS = 14 * 24 * 60
"""How long a dead letter is kept, in minutes."""

Message = tuple[str, str]
"""A queue and a body."""


def trade(ada: As, bob: As, number: int) -> None:
    """An order that is paid and given back in part, another that is rated, and a top-up, as far as requests go: what
    follows from them is left to the queues."""
    project_id = project_of(ada, f"Garden {number}")
    refunded = order_in("completed", ada, bob, "12.50", project_id=project_id)
    assert ada.call("pay_order", key=f"paid {number}", order_id=refunded).status == 201
    refund = partial(bob.call, "refund_order", {"amount": "2.50"}, key=f"back {number}", order_id=refunded)
    left_to_the_queue(refund)
    rated = order_in("completed", ada, bob, "7.00")
    left_to_the_queue(partial(ada.call, "pay_order", key=f"pay {number}", order_id=rated))
    assert ada.call("rate_order", {"rating": number % 5 + 1}, order_id=rated).status == 200
    assert ada.call("top_up", {"amount": 3}, key=f"top up {number}").status == 202


def market(stores: Stores) -> None:
    """A new market with all its trades, and their messages in the queues."""
    stores.empty()
    ada, bob = holder("Ada", 50 * TRADES), holder("Bob", 50 * TRADES)
    drain()
    for number in range(TRADES):
        trade(ada, bob, number)


@pytest.fixture(scope="module")
def expected(all_stores: Stores) -> Counter[tuple[Any, ...]]:
    """What the market comes to when each message comes once, in its order."""
    market(all_stores)
    drain(limit=100_000)
    return seen(all_stores)


def poison(dice: random.Random) -> Message:
    """A message that can never be handled."""
    queue = dice.choice(["topups", "payments", "notifications", "projects", "ratings"])
    nobody = {
        "topups": ("credit", {"topup_id": 1, "user_id": 999_999, "tokens": 5, "made_by": 1}),
        "notifications": ("notice", {"message": "Boo.", "user_ids": [999_999], "emails": [], "actor_id": None}),
    }
    type, payload = nobody.get(queue, ("no such type", {}))
    whole = {
        "schema": 1,
        "type": type,
        "aggregate": "order:1",
        "payload": payload,
        "id": str(uuid.UUID(int=dice.getrandbits(128))),
        "created_at": "2026-11-24T00:00:00+00:00",
        "aggregate_version": None,
        "request_id": None,
    }
    spoilt = [
        "not JSON {",
        "[1, 2]",
        json.dumps({**whole, "schema": 2}),
        json.dumps({**whole, "type": "no such type"}),
        json.dumps({**whole, "id": "no id"}),
        json.dumps({name: value for name, value in whole.items() if name != "payload"}),
        json.dumps({**whole, "payload": "not an object"}),
        json.dumps(whole),
    ]
    return queue, dice.choice(spoilt)


def deliver_all(messages: list[Message]) -> None:
    """Deliver messages in this order, ten of a queue in a batch; none of them has to come again."""
    batches: dict[str, list[str]] = {queue: [] for queue in consumers()}
    for queue, body in messages:
        batches[queue].append(body)
        if len(batches[queue]) == BATCH:
            assert deliver(consumers()[queue], *batches[queue]) == []
            batches[queue] = []
    for queue, bodies in batches.items():
        assert not bodies or deliver(consumers()[queue], *bodies) == []


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_however_often_and_in_whatever_order_messages_come_each_takes_effect_once(
    seed: int, stores: Stores, expected: Counter[tuple[Any, ...]]
) -> None:
    market(stores)
    dice = random.Random(seed)  # noqa: S311
    handled: list[Message] = []
    later: list[Message] = []
    buried: Counter[str] = Counter()
    while fresh := [(queue, body) for queue in consumers() for body in receive_all(queue)]:
        handled += fresh
        now, later = later, []
        bad = [poison(dice) for _ in range(max(1, len(fresh) // 100))]
        for message in [*fresh, *bad]:
            times = dice.randint(1, 5)
            put_off = sum(dice.random() < 0.3 for _ in range(times - 1))
            now += [message] * (times - put_off)
            later += [message] * put_off
            buried[message[0]] += times * (message in bad)
        dice.shuffle(now)
        deliver_all(now)
    deliver_all(later)
    assert drain() == 0, "what came again had consequences again"

    let_time_pass(stores, TWO_WEEKS)
    assert run_scheduled("purge_expired")["failed"] == 0
    deliver_all(handled)
    assert drain() == 0, "what came out of a dead-letter queue had consequences again"

    assert len(handled) >= MESSAGES
    assert seen(stores) == expected
    all_holds(stores)
    for queue in consumers():
        reasons = [letter["reason"] for letter in take_dead_letters(queue)]
        assert all(reasons)
        assert len(reasons) == buried[queue], f"{queue}: {reasons}"
