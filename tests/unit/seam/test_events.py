"""Events as they travel, without any store."""

import json
import uuid

import pytest
from itlc import events
from itlc.errors import Poison
from itlc.events import Event, event, read_event
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
        ("[]", "schema"),
        ('{"schema": 2}', "schema"),
        ({"id": "x"}, "field"),
        ({"payload": []}, "payload"),
        ({"type": 7}, "type"),
        ({"colour": "red"}, "one too many"),
        ({"aggregate": "a\0"}, "aggregate is not a name"),
        ({"aggregate": "x" * 129}, "aggregate is not a name"),
        ({"aggregate": 7}, "aggregate is not a name"),
        ({"request_id": ["x"]}, "request's id"),
        ({"aggregate_version": "3"}, "version"),
        ({"aggregate_version": 2**63}, "version"),
    ],
)
def test_what_can_never_be_an_event_is_poison(change: object, reason: str) -> None:
    body = change
    if isinstance(change, dict):
        body = json.dumps(json.loads(event("topups", "credit", "topup:7", {}).body()) | change)
    with pytest.raises(Poison, match=reason):
        read_event("topups", str(body))


def test_a_notice_tells_nobody_twice_and_never_its_actor() -> None:
    payload = notice("order:1", "Hello", users=[3, 2, 3, None, 9], emails=["A@x.org", "a@x.org"], actor_id=9).payload
    assert payload["user_ids"] == [2, 3]
    assert payload["emails"] == ["a@x.org"]


def test_a_notice_with_a_cause_is_the_same_event_each_time() -> None:
    first, again, other = (notice("topup:7", "Done", cause=cause).id for cause in ("a", "a", "b"))
    assert first == again != other
    assert uuid.UUID(first).version == 5


def test_a_batch_is_as_large_as_sqs_takes_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[list[dict[str, str]]] = []

    class Queue:
        def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, object]:  # noqa: N803
            batches.append(Entries)
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    monkeypatch.setattr(events, "client", lambda service: Queue())
    monkeypatch.setenv("ITLC_QUEUE_NOTIFICATIONS", "there")
    settings.cache_clear()
    try:
        small = [event("notifications", "notice", "order:1", {"message": "m"}) for _ in range(12)]
        large = [event("notifications", "notice", "order:1", {"message": "x" * 100_000}) for _ in range(5)]
        told: list[Event] = [*small, *large]
        assert events.send(told) == {one.id for one in told}
    finally:
        settings.cache_clear()
    assert [len(batch) for batch in batches] == [10, 4, 2, 1]
    assert all(sum(len(entry["MessageBody"].encode()) for entry in batch) <= 256 * 1024 for batch in batches)
    assert [entry["MessageBody"] for batch in batches for entry in batch] == [one.body() for one in told]
