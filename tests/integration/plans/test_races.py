"""Several at one plan at once: everything of one order happens one after another, and nobody sees half of it."""

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from neo4j.exceptions import TransientError

from tests.support.calling import As, Response
from tests.support.market import order_in
from tests.support.plans import diamond, lay_down, numbers, step
from tests.support.queues import receive_all
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

customer, provider = As(1), As(2)


@pytest.fixture
def order_id(stores: Stores) -> int:
    """An order in progress of the customer's with the provider."""
    return order_in("in_progress", customer, provider)


def define(order_id: int, word: str, count: int) -> Response:
    body = [step(n, *([n - 1] if n > 1 else []), description=word) for n in range(1, count + 1)]
    return provider.call("define_plan", body, order_id=order_id)


def complete(order_id: int, step_id: str) -> Response:
    return provider.call("complete_step", order_id=order_id, step_id=step_id)


def add(order_id: int, number: int, word: str, key: str | None = None) -> Response:
    return provider.call("add_step", step(number, description=word), key=key, order_id=order_id)


def remove(order_id: int, step_id: str) -> Response:
    return provider.call("remove_step", order_id=order_id, step_id=step_id)


def act(name: str, arguments: tuple[int, ...]) -> Response:
    acts: dict[str, Callable[..., Response]] = {"add": add, "remove": remove}
    return acts[name](*arguments)


def depend(order_id: int, step_id: str, on: int) -> Response:
    return provider.call("change_step", {"depends_on": [on]}, order_id=order_id, step_id=step_id)


def test_of_plans_defined_at_once_one_stays_and_whole(order_id: int, stores: Stores) -> None:
    count = workers()
    answers = at_once(define, [(order_id, f"plan {n}", n + 2) for n in range(count)])
    assert [answer.status for answer in answers] == [200] * count
    left = numbers(customer, order_id)
    (word,) = {description for _, description, _ in left}
    assert len(left) == int(word.removeprefix("plan ")) + 2
    assert [number for number, _, _ in left] == list(range(1, len(left) + 1))
    (nodes,) = stores.graph("MATCH (s:OrderStep) RETURN count(s) AS steps, count{(s)-[:OF]->(:Order)} AS one")
    assert nodes["steps"] == len(left)


def test_a_step_is_completed_once(order_id: int, stores: Stores) -> None:
    first, *_ = lay_down(provider, order_id, diamond())
    answers = at_once(complete, [(order_id, first)] * 8)
    assert Counter(answer.status for answer in answers) == {200: 1, 409: 7}
    assert customer.call("read_step", order_id=order_id, step_id=first)["completed_at"] is not None


def test_numbers_stay_without_a_gap_while_steps_are_added_and_removed(order_id: int) -> None:
    ids = lay_down(provider, order_id, [step(n, description=f"old {n}") for n in range(1, 7)])
    adding = [(order_id, 2, f"new {n}") for n in range(5)]
    answers = at_once(act, [("add", one) for one in adding] + [("remove", (order_id, ids[n])) for n in (1, 3, 5)])
    assert sorted(answer.status for answer in answers) == [201] * 5 + [204] * 3
    left = numbers(customer, order_id)
    assert [number for number, _, _ in left] == list(range(1, 9))
    assert {word for _, word, _ in left} == {"old 1", "old 3", "old 5", *(f"new {n}" for n in range(5))}


def test_two_changes_at_once_make_no_cycle(order_id: int) -> None:
    for _ in range(3):
        one, two = lay_down(provider, order_id, [step(1), step(2)])
        answers = at_once(depend, [(order_id, one, 2), (order_id, two, 1)])
        assert sorted(answer.status for answer in answers) == [200, 422]
        assert sorted(len(after) for _, _, after in numbers(customer, order_id)) == [0, 1]


def test_requests_with_one_key_add_one_step(order_id: int, stores: Stores) -> None:
    answers = at_once(add, [(order_id, 1, "same", "k")] * 8)
    assert {answer.status for answer in answers} <= {201, 409}
    assert len({answer.text for answer in answers if answer.status == 201}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers if answer.status == 201) == 1
    assert len(numbers(customer, order_id)) == 1


@pytest.mark.parametrize("known", [False, True], ids=["a new key", "a spent key"])
def test_a_first_request_that_does_not_end_is_still_running(stores: Stores, known: bool) -> None:
    from itlc.errors import StillRunning
    from itlc.idempotency import Key
    from itlc.stores.neo4j import graph, keys

    key = Key("user:1", "add_step", "k", "fingerprint")
    if known:
        spent = "CREATE (:IdempotencyKey {identity: $identity, expires_at: datetime() - duration({hours: 1})})"
        stores.graph(spent, identity=key.identity)
    with graph.driver.session() as session, session.begin_transaction() as first:
        first.run("MERGE (k:IdempotencyKey {identity: $identity}) SET k._lock = 1", identity=key.identity).consume()
        with pytest.raises(StillRunning):
            graph.write(lambda transaction: keys.claim(transaction, key))
    assert graph.write(lambda transaction: keys.claim(transaction, key)) is None


def test_after_a_clash_all_of_the_work_is_done_again_and_only_its_last_events_are_sent(stores: Stores) -> None:
    from itlc.events import Event, event
    from itlc.stores.neo4j import GraphTransaction, graph

    made: list[Event] = []

    def work(transaction: GraphTransaction) -> str:
        made.append(event("notifications", "notice", "order:1", {"message": str(len(made))}))
        transaction.emit(made[-1])
        if len(made) == 1:
            raise TransientError("they clash")
        return made[-1].id

    receive_all("notifications")
    assert graph.write(work) == made[1].id
    assert [json.loads(body)["id"] for body in receive_all("notifications")] == [made[1].id]
    assert stores.graph("MATCH (o:Outbox) RETURN o.id AS id") == []


def test_a_transaction_over_its_time_is_the_store_away(stores: Stores) -> None:
    from itlc.errors import StoreAway
    from itlc.stores.neo4j import graph

    endless = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b RETURN max(a * b % 7)"
    with pytest.raises(StoreAway):
        graph.read(lambda transaction: transaction.run(endless))
    # On a busy machine the answer can be late, too, and then nobody asks for some seconds: here, the next test.
    graph.ping()


def test_who_reads_while_a_plan_is_replaced_sees_one_plan_whole(stores: Stores) -> None:
    from itlc.plans import repository, service
    from itlc.plans.model import Step
    from itlc.stores.neo4j import GraphTransaction, graph

    def plan(word: str) -> list[Step]:
        now, count = datetime.now(UTC), 40
        return [
            Step(str(uuid4()), 1, n, word, "", (), (n - 1,) if n > 1 else (), 1.0, now) for n in range(1, count + 1)
        ]

    def replacing(word: str) -> Callable[[GraphTransaction], None]:
        def work(transaction: GraphTransaction) -> None:
            repository.lock(transaction, 1)
            repository.replace_steps(transaction, 1, plan(word))

        return work

    end = time.monotonic() + 6

    def write() -> int:
        count = 0
        while time.monotonic() < end:
            count += 1
            graph.write(replacing(f"plan {count}"))
        return count

    graph.write(replacing("plan 0"))
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        seen = set()
        while not writing.done():
            steps = graph.locked_read(lambda transaction: service.plan_of(transaction, 1))
            assert [one.step_number for one in steps] == list(range(1, 41))
            assert [len(one.depends_on) for one in steps] == [0] + [1] * 39
            (word,) = {one.description for one in steps}
            seen.add(word)
    assert writing.result() > 5
    assert len(seen) > 5, "it read while the plans were replaced"


def test_revisions_count_every_change(stores: Stores) -> None:
    from itlc.plans import repository
    from itlc.stores.neo4j import graph

    with ThreadPoolExecutor(4) as pool:
        counted = pool.map(lambda _: graph.write(lambda transaction: repository.lock(transaction, 1)), range(100))
    assert sorted(counted) == list(range(1, 101))
