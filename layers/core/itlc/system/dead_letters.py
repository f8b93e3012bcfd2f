"""Which events are in the dead-letter queues: looked at, and left there."""

import json
import uuid
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from itlc import aws
from itlc.operation import Deadline
from itlc.settings import settings
from itlc.system.findings import NotChecked

MOST = 2_000
HIDDEN_SECONDS = 20
"""For so long a message that was looked at is not given out again, so that each is seen once; then, or as soon as all
were seen, it can be looked at by others."""
LOOKS = 3
"""How often a queue that has more messages than it gives out is asked again, a second each."""


def buried_events(deadline: Deadline) -> set[uuid.UUID]:
    """The ids of the events in the dead-letter queues.

    Raises NotChecked when a queue cannot be read, when not all of it can be seen (it has over two thousand messages, or
    somebody else looks at it at this moment), or when the time is up: of what was not seen nothing can be said.
    """
    found: set[uuid.UUID] = set()
    try:
        for queue, url in settings().dead_letter_queues.items():
            for body in _bodies(queue, url, deadline):
                try:
                    found.add(uuid.UUID(json.loads(body)["id"]))
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    continue  # no event: it is there because it cannot be read
    except (BotoCoreError, ClientError) as error:
        raise NotChecked("the dead-letter queues cannot be read") from error
    return found


def _bodies(queue: str, url: str, deadline: Deadline) -> list[str]:
    """The messages of one queue, which can be looked at again afterwards."""
    seen: dict[str, Any] = {}
    looks = 0
    try:
        while True:
            if deadline.passed:
                raise NotChecked("there was no time left for the dead-letter queues")
            messages = _receive(url, wait=bool(looks))
            seen |= {message["MessageId"]: message for message in messages}
            if messages and len(seen) < MOST:
                continue
            unseen = _depth(url) - len(seen)
            if unseen <= 0:
                return [message["Body"] for message in seen.values()]
            looks += 1
            if looks > LOOKS or len(seen) >= MOST:
                raise NotChecked(f"{unseen} dead letters of the queue {queue} could not be seen; try again in a minute")
    finally:
        _give_back(url, [message["ReceiptHandle"] for message in seen.values()])


def _receive(url: str, *, wait: bool) -> list[Any]:
    asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": HIDDEN_SECONDS}
    messages: list[Any] = aws.client("sqs").receive_message(**asked, WaitTimeSeconds=int(wait)).get("Messages", [])
    return messages


def _depth(url: str) -> int:
    """How many messages a queue has, whether they can be seen at this moment or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counted = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(counted[name]) for name in names)


def _give_back(url: str, handles: list[str]) -> None:
    for begin in range(0, len(handles), 10):
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(handles[begin : begin + 10])
        ]
        aws.client("sqs").change_message_visibility_batch(QueueUrl=url, Entries=entries)
