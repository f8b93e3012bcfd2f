"""Driving the queues by hand: everything that was sent is delivered to the operation that consumes it."""

import os
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
        batch = [(queue, message) for queue in consumers() for message in _receive(queue)]
        if not batch:
            return delivered
        for queue, message in batch:
            failed = deliver(consumers()[queue], message["Body"])
            assert not failed, f"{consumers()[queue]} failed on {message['Body']}"
            _delete(queue, message)
            delivered += 1
    raise AssertionError(f"the queues are not empty after {limit} rounds")


def receive_all(queue: str) -> list[str]:
    """The bodies of all messages that wait in a queue, which is empty afterwards. Nothing is delivered."""
    bodies = []
    while batch := _receive(queue):
        for message in batch:
            bodies.append(message["Body"])
            _delete(queue, message)
    return bodies


def dead_letters(queue: str) -> list[dict[str, Any]]:
    """What is in a queue's dead-letter queue: body and reason."""
    url = os.environ[f"ITLC_DLQ_{queue.upper()}"]
    answer = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    return [
        {"body": message["Body"], "reason": message["MessageAttributes"]["reason"]["StringValue"]}
        for message in answer.get("Messages", [])
    ]


def _receive(queue: str) -> list[Any]:
    url = os.environ[f"ITLC_QUEUE_{queue.upper()}"]
    messages: list[Any] = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return messages


def _delete(queue: str, message: dict[str, Any]) -> None:
    url = os.environ[f"ITLC_QUEUE_{queue.upper()}"]
    client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
