"""AWS clients of this worker: made once, with short timeouts, and a circuit for each service that does not answer."""

from functools import cache
from typing import Any

from itlc.stores.circuit import Circuit

CONNECT_SECONDS = 1
ANSWER_SECONDS = 3
ATTEMPTS = {"secretsmanager": 2}
"""Nobody else repeats that a secret is fetched. Messages are repeated by the relay, and whatever a consumer does by its
queue: after a commit nobody shall wait long for a queue."""


@cache
def client(service: str, *, guarded: bool = True) -> Any:
    """The boto3 client of `service` (`sqs`, `secretsmanager`, `ses`); imports boto3 only when first asked for.

    Its calls raise StoreAway at once while the service's circuit is open, unless the client is not `guarded`.
    """
    import boto3
    from botocore.config import Config

    patience = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS.get(service, 1)},
    )
    made = boto3.client(service, config=patience)
    if guarded:
        _guard(made, service)
    return made


def _guard(made: Any, service: str) -> None:
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

    circuit = Circuit(lambda error: isinstance(error, ConnectTimeoutError | EndpointConnectionError | ReadTimeoutError))
    names = {"sqs": "The queue service", "secretsmanager": "Secrets Manager", "ses": "The mail service"}

    def refuse(**_: Any) -> None:
        circuit.check(names[service])

    def note(exception: Exception, **_: Any) -> None:
        circuit.note(exception)

    made.meta.events.register("before-call", refuse)
    made.meta.events.register("after-call-error", note)
