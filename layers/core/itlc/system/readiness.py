"""Whether the seven stores and the queues can be reached: each is asked the least that proves it, all at once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from functools import partial
from typing import Any

from itlc import aws
from itlc.settings import settings
from itlc.stores import mongo, neo4j, postgres
from itlc.system.schemas import ReadinessView, State

PATIENCE_SECONDS = 4.0

Probe = Callable[[], Any]


def readiness() -> ReadinessView:
    """The state of each store and queue. What does not answer within four seconds, or refuses, is `away`."""
    stores: dict[str, Probe] = {
        **{database.name: database.ping for database in postgres.DATABASES},
        "itlc_pbfr": mongo.ping,
        "neo4j": neo4j.graph.ping,
    }
    # Made before the threads need it: making boto3's clients is not safe in several at once.
    sqs = aws.client("sqs", guarded=False)
    aws.client("secretsmanager")
    queues = {
        name: partial(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["QueueArn"])
        for name, url in sorted(settings().queues.items())
    }
    states = _ask({**stores, **{f"queue {name}": probe for name, probe in queues.items()}})
    return ReadinessView(
        status="ready" if set(states.values()) == {"up"} else "not ready",
        stores={name: states[name] for name in stores},
        queues={name: states[f"queue {name}"] for name in queues},
    )


def _ask(probes: dict[str, Probe]) -> dict[str, State]:
    pool = ThreadPoolExecutor(len(probes))
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        asked = {name: pool.submit(probe) for name, probe in probes.items()}
        states: dict[str, State] = {}
        for name, answer in asked.items():
            try:
                answer.result(timeout=max(0.0, deadline - time.monotonic()))
                states[name] = "up"
            except NotInTime:
                states[name] = "away"
            except Exception:  # whatever its driver raises, it cannot be used
                states[name] = "away"
        return states
    finally:
        # One that still waits for its own timeout is not waited for.
        pool.shutdown(wait=False, cancel_futures=True)
