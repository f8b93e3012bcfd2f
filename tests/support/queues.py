"""Driving the queues by hand: everything that was sent is delivered to the operation that consumes it."""

import json
import os
import urllib.request
from functools import cache
from typing import Any

from itlc.aws import client

from tests.support.calling import FUNCTIONS, deliver, operation


@cache
def consumers() -> dict[str, str]:
    """The operation that consumes each queue. Only those that consume any are imported."""
    names = [path.stem for path in sorted(FUNCTIONS.glob("*/*.py")) if "@app.consumes(" in path.read_text()]
    return {queue: name for name in names if (queue := operation(name).queue)}


def drain(limit: int = 50) -> int:
    """Deliver what waits in the queues, and what that sends, until all are empty; returns how many messages."""
    delivered = 0
    for _ in range(limit):
        batch = [(queue, message) for queue in with_messages() for message in _receive(queue)]
        if not batch:
            return delivered
        for queue, message in batch:
            failed = deliver(consumers()[queue], message["Body"])
            assert not failed, f"{consumers()[queue]} failed on {message['Body']}"
            _delete(queue, message)
            delivered += 1
    raise AssertionError(f"the queues are not empty after {limit} rounds")


def with_messages() -> list[str]:
    """The queues in which messages wait that may be received. The emulator is asked once for all of them, which is far
    quicker than to ask each; no message is hidden from others by it."""
    with urllib.request.urlopen(f"{os.environ['AWS_ENDPOINT_URL']}/_ministack/sqs/messages") as answer:  # noqa: S310
        accounts = json.load(answer)["messages"]
    waiting = {
        url.rpartition("/")[2]: any(message["IsVisible"] for message in messages)
        for regions in accounts.values()
        for queues in regions.values()
        for url, messages in queues.items()
    }
    return [queue for queue in consumers() if waiting[f"test-{queue}"]]


def receive_all(queue: str) -> list[str]:
    """The bodies of all messages that wait in a queue, which is empty afterwards. Nothing is delivered."""
    bodies = []
    while batch := _receive(queue):
        for message in batch:
            bodies.append(message["Body"])
            _delete(queue, message)
    return bodies


def dead_letters(queue: str) -> list[dict[str, Any]]:
    """The first ten messages of a queue's dead-letter queue: body and reason."""
    url = os.environ[f"ITLC_DLQ_{queue.upper()}"]
    return [
        {"body": message["Body"], "reason": message["MessageAttributes"]["reason"]["StringValue"]}
        for message in _received(url)
    ]


def take_dead_letters(queue: str) -> list[dict[str, Any]]:
    """All messages of a queue's dead-letter queue, which is empty afterwards: body and reason."""
    letters = []
    while batch := dead_letters(queue):
        letters += batch
    client("sqs").purge_queue(QueueUrl=os.environ[f"ITLC_DLQ_{queue.upper()}"])
    return letters


def _received(url: str) -> list[Any]:
    asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    messages: list[Any] = client("sqs").receive_message(**asked).get("Messages", [])
    return messages


def _receive(queue: str) -> list[Any]:
    return _received(os.environ[f"ITLC_QUEUE_{queue.upper()}"])


def _delete(queue: str, message: dict[str, Any]) -> None:
    url = os.environ[f"ITLC_QUEUE_{queue.upper()}"]
    client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
