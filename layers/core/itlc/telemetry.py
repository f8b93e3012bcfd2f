"""One structured log line and one set of metrics per call.

The log is JSON on standard output, written by Powertools' Logger under the operation's name. The metrics are in
CloudWatch's embedded format: namespace `ITLC`, dimension `service` = the operation; `Calls`, `Errors` (5xx, or a
message that failed) and `Duration` (milliseconds); and `PutOff`, of the `service` `queues`. Neither ever holds a body,
a token or a name.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit


@cache
def logger(operation: str) -> Logger:
    """The logger of one operation: JSON lines with its name as `service`."""
    return Logger(service=operation, utc=True, log_uncaught_exceptions=False)


@contextmanager
def call(operation: str, kind: str, request_id: str | None) -> Iterator[dict[str, Any]]:
    """Time one call; on leaving, log it with the fields that the block put into the yielded dict, and count it.

    A field `failed` that is true, or a number above nought, counts the call as one error; so does an exception.
    """
    fields: dict[str, Any] = {"kind": kind, "request_id": request_id, "failed": False}
    started = time.perf_counter()
    try:
        yield fields
    except BaseException:
        fields["failed"] = True
        raise
    finally:
        fields["duration_ms"] = round((time.perf_counter() - started) * 1000, 1)
        log = logger(operation)
        (log.error if fields["failed"] else log.info)("call", extra=fields)
        metrics = EphemeralMetrics(namespace="ITLC", service=operation)
        metrics.add_metric("Calls", MetricUnit.Count, 1)
        metrics.add_metric("Errors", MetricUnit.Count, int(bool(fields["failed"])))
        metrics.add_metric("Duration", MetricUnit.Milliseconds, fields["duration_ms"])
        metrics.flush_metrics()


def count_put_off() -> None:
    """Count a message that was put off, since a store that it needs is away. Of all queues together: one alarm looks
    at them."""
    metrics = EphemeralMetrics(namespace="ITLC", service="queues")
    metrics.add_metric("PutOff", MetricUnit.Count, 1)
    metrics.flush_metrics()
