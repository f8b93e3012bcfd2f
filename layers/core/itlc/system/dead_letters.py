"""Which events are in the dead-letter queues: looked at, and left there."""

import json
import uuid

from botocore.exceptions import BotoCoreError, ClientError

from itlc import aws
from itlc.settings import settings
from itlc.system.findings import NotChecked

MOST = 2_000
HIDDEN_SECONDS = 20
"""For so long a message that was looked at is not given out again, so that each is seen once."""


def buried_events() -> set[uuid.UUID]:
    """The ids of the events in the dead-letter queues, of two thousand messages of each at most.

    Raises NotChecked when a queue cannot be read.
    """
    found: set[uuid.UUID] = set()
    try:
        for url in settings().dead_letter_queues.values():
            found |= _in_queue(url)
    except (BotoCoreError, ClientError) as error:
        raise NotChecked("the dead-letter queues cannot be read") from error
    return found


def _in_queue(url: str) -> set[uuid.UUID]:
    found: set[uuid.UUID] = set()
    seen = 0
    while seen < MOST:
        got = aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS)
        messages = got.get("Messages", [])
        if not messages:
            break
        seen += len(messages)
        for message in messages:
            try:
                found.add(uuid.UUID(json.loads(message["Body"])["id"]))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # no event: it is there because it cannot be read
    return found
