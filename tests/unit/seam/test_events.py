"""Events as they travel, without any store."""

import json
import uuid
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from itlc import events
from itlc.errors import Poison, StoreAway
from itlc.events import Event, QueuesAway, event, read_event
from itlc.notices import notice
from itlc.settings import settings


def test_an_event_survives_its_journey() -> None:
    sent = event("topups", "credit", "topup:7", {"tokens": 5}, version=3)
    assert read_event("topups", sent.body()) == sent


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 5_000, "not JSON"),
        ('{"payload": {"before": 1e999}}', "a number that no store keeps"),
        ("[]", "schema"),
        ('{"schema": 2}', "schema"),
        ({"id": "x"}, "field"),
        ({"payload": []}, "payload"),
        ({"type": 7}, "type"),
        ({"colour": "red"}, "one too many"),
        ({"aggregate": "a\0"}, "no store keeps"),
        ({"aggregate": "a\n"}, "aggregate is not a name"),
        ({"aggregate": "x" * 129}, "aggregate is not a name"),
        ({"aggregate": 7}, "aggregate is not a name"),
        ({"request_id": ["x"]}, "request's id"),
        ({"aggregate_version": "3"}, "version"),
        ({"aggregate_version": 2**63}, "version"),
        ({"payload": {"list": [{"name": "a\0"}]}}, "no store keeps"),
        ({"payload": {"a\0": 1}}, "no store keeps"),
        ({"payload": {"name": "\ud83d"}}, "no store keeps"),
        ({"payload": {"tokens": float("nan")}}, "not JSON"),
    ],
)
def test_what_can_never_be_an_event_is_poison(change: object, reason: str) -> None:
    body = change
    if isinstance(change, dict):
        body = json.dumps(json.loads(event("topups", "credit", "topup:7", {}).body()) | change)
    with pytest.raises(Poison, match=reason):
        read_event("topups", str(body))


def test_what_any_store_keeps_is_no_poison() -> None:
    odd = {"text": "\\u0000 \U0001f600 \t", "nothing": None, "number": 1.5}
    sent = event("topups", "credit", "topup:7", odd)
    assert read_event("topups", sent.body()).payload == odd


def test_a_notice_tells_nobody_twice_and_never_its_actor() -> None:
    payload = notice("order:1", "Hello", users=[3, 2, 3, None, 9], emails=["A@x.org", "a@x.org"], actor_id=9).payload
    assert payload["user_ids"] == [2, 3]
    assert payload["emails"] == ["a@x.org"]


def test_a_notice_with_a_cause_is_the_same_event_each_time() -> None:
    first, again, other = (notice("topup:7", "Done", cause=cause).id for cause in ("a", "a", "b"))
    assert first == again != other
    assert uuid.UUID(first).version == 5


class Sqs:
    """SQS, as far as events are sent: each queue takes what it gets, unless it has a failure to raise; of a batch, it
    `takes` so many messages at most, and refuses the others."""

    def __init__(self, takes: int = 10, **failures: Exception) -> None:
        self._takes, self._failures = takes, failures
        self.batches: list[list[dict[str, str]]] = []
        """What was handed over, whether it was taken or not."""

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, object]:  # noqa: N803
        self.batches.append(Entries)
        if QueueUrl in self._failures:
            raise self._failures[QueueUrl]
        taken, refused = Entries[: self._takes], Entries[self._takes :]
        return {
            "Successful": [{"Id": entry["Id"]} for entry in taken],
            "Failed": [{"Id": entry["Id"], "Code": "Throttled"} for entry in refused],
        }


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Sqs], Sqs]]:
    """Puts an SQS in the place of the real one. The URL of a queue is its name."""

    def become(sqs: Sqs) -> Sqs:
        monkeypatch.setattr(events, "client", lambda service: sqs)
        return sqs

    for queue in ("notifications", "payments", "topups"):
        monkeypatch.setenv(f"ITLC_QUEUE_{queue.upper()}", queue)
    settings.cache_clear()
    yield become
    settings.cache_clear()


def some(queue: str, number: int) -> list[Event]:
    return [event(queue, "notice", "order:1", {"message": "m"}) for _ in range(number)]


def test_a_batch_is_as_large_as_sqs_takes_by_number_and_by_size(become: Callable[[Sqs], Sqs]) -> None:
    batches = become(Sqs()).batches
    large = [event("notifications", "notice", "order:1", {"message": "x" * 100_000}) for _ in range(5)]
    told: list[Event] = [*some("notifications", 12), *large]
    assert events.send(told) == {one.id for one in told}
    assert [len(batch) for batch in batches] == [10, 4, 2, 1]
    assert all(sum(len(entry["MessageBody"].encode()) for entry in batch) <= 256 * 1024 for batch in batches)
    assert [entry["MessageBody"] for batch in batches for entry in batch] == [one.body() for one in told]


def test_only_what_a_queue_says_that_it_took_was_sent(
    become: Callable[[Sqs], Sqs], caplog: pytest.LogCaptureFixture
) -> None:
    become(Sqs(takes=2))
    told = some("topups", 5)
    assert events.send(told) == {one.id for one in told[:2]}
    (record,) = caplog.records
    assert (getattr(record, "events", None), getattr(record, "codes", None)) == (3, ["Throttled"])


REFUSAL = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessageBatch")
GONE = EndpointConnectionError(endpoint_url="http://queues")


def test_a_batch_that_is_refused_keeps_no_other_from_being_sent(
    become: Callable[[Sqs], Sqs], caplog: pytest.LogCaptureFixture
) -> None:
    batches = become(Sqs(payments=REFUSAL)).batches
    first, refused, unknown, last = (
        some(queue, 2) for queue in ("notifications", "payments", "no such queue", "topups")
    )
    assert events.send([*first, *refused, *unknown, *last]) == {one.id for one in [*first, *last]}
    assert len(batches) == 3
    logged = [(getattr(record, "queue", None), record.exc_info and record.exc_info[0]) for record in caplog.records]
    assert logged == [("payments", ClientError), ("no such queue", KeyError)]


@pytest.mark.parametrize("failure", [GONE, StoreAway("The queue service")])
def test_when_sqs_is_away_one_batch_waits_for_its_timeout_and_no_other(
    become: Callable[[Sqs], Sqs], failure: Exception
) -> None:
    gone = become(Sqs(notifications=failure))
    with pytest.raises(QueuesAway) as away:
        events.send([*some("notifications", 25), *some("topups", 5)])
    assert away.value.unsent == 30
    assert len(gone.batches) == 1


def test_what_was_taken_before_sqs_went_away_is_known(become: Callable[[Sqs], Sqs]) -> None:
    going = become(Sqs(payments=GONE))
    taken, lost, never = (some(queue, 1) for queue in ("notifications", "payments", "topups"))
    assert events.send([*taken, *lost, *never]) == {taken[0].id}
    assert len(going.batches) == 2


def test_after_a_commit_the_first_hundred_are_sent_and_the_relay_sends_the_rest(become: Callable[[Sqs], Sqs]) -> None:
    batches = become(Sqs()).batches
    emitted = some("topups", events.SENT_AT_ONCE + 20)
    published: list[set[str]] = []
    events.send_now(emitted, published.append)
    assert published == [{one.id for one in emitted[:100]}]
    assert sum(map(len, batches)) == 100
