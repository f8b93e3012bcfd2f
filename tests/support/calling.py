"""Calling an operation as Lambda does: the event in, the response out, in this process, on real stores."""

import importlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from itlc import events
from itlc.operation import Operation

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


@cache
def operations() -> dict[str, Operation]:
    """Every operation of `functions/`, by its name."""
    found = {}
    for path in sorted(FUNCTIONS.glob("*/*.py")):
        found[path.stem] = operation(path.stem)
    return found


@cache
def operation(name: str) -> Operation:
    """The app of one operation."""
    (path,) = FUNCTIONS.glob(f"*/{name}.py")
    app: Operation = importlib.import_module(f"functions.{path.parent.name}.{name}").app
    return app


class Context:
    """What Lambda passes beside the event."""

    function_name = "test"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:test"
    aws_request_id = "test"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left: ten seconds, always."""
        return 10_000


@dataclass(frozen=True)
class Response:
    """What came back. `json` is the body parsed, None when it is empty."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text) if self.text else None

    def __getitem__(self, field: str) -> Any:
        return self.json[field]


@dataclass(frozen=True)
class As:
    """Somebody who calls: a user (with `user_id`), an administrator, or nobody."""

    user_id: int | None = None
    is_admin: bool = False
    session_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    address: str = "127.0.0.1"

    def call(
        self,
        name: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
        raw: str | None = None,
        base64: bool = False,
        **ids: Any,
    ) -> Response:
        """Call the operation `name` with a JSON body (or the `raw` text, which may be `base64`), a query, an
        idempotency key, path ids."""
        app = operation(name)
        spec = app.route_spec
        assert spec is not None, f"{name} has no route"
        sent = {"content-type": "application/json", **(headers or {}), **({"Idempotency-Key": key} if key else {})}
        identity = {}
        if self.user_id is not None:
            identity = {
                "user_id": str(self.user_id),
                "session_id": self.session_id,
                "is_admin": str(self.is_admin).lower(),
                "expires_at": str(int(time.time()) + 600),
            }
        event = {
            "resource": spec.path,
            "path": spec.path.format_map(ids),
            "httpMethod": spec.method,
            "headers": sent,
            "multiValueHeaders": {header: [value] for header, value in sent.items()},
            "queryStringParameters": query and {name: str(value) for name, value in query.items()},
            "multiValueQueryStringParameters": query
            and {
                name: [str(v) for v in (value if isinstance(value, list) else [value])] for name, value in query.items()
            },
            "pathParameters": {name: str(value) for name, value in ids.items()} or None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": spec.path,
                "httpMethod": spec.method,
                "requestId": str(uuid.uuid4()),
                "identity": {"sourceIp": self.address},
                "authorizer": identity,
            },
            "body": raw if raw is not None else (None if body is None else json.dumps(body)),
            "isBase64Encoded": base64,
        }
        answer = app(event, Context())
        return Response(answer["statusCode"], answer["headers"], answer["body"])

    def pages(self, name: str, *, query: dict[str, Any] | None = None, **ids: Any) -> Iterator[list[Any]]:
        """Every page of a list, by its cursors."""
        cursor: str | None = None
        while True:
            response = self.call(name, query={**(query or {}), **({"cursor": cursor} if cursor else {})}, **ids)
            assert response.status == 200, response.text
            yield response["items"]
            cursor = response["next_cursor"]
            if cursor is None:
                return


nobody = As()


def deliver(name: str, *bodies: str, receives: int = 1, first_sent: int | None = None) -> list[str]:
    """Deliver messages to a queue's operation, as one batch; returns the ids of those that failed. They were sent just
    now, or put off since they were `first_sent` (in milliseconds since 1970)."""
    carried = {events.FIRST_SENT: {"dataType": "Number", "stringValue": str(first_sent)}} if first_sent else {}
    records = [
        {
            "messageId": f"message-{number}",
            "receiptHandle": "-",
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(int(time.time() * 1000))},
            "messageAttributes": carried,
            "eventSource": "aws:sqs",
        }
        for number, body in enumerate(bodies)
    ]
    answer = operation(name)({"Records": records}, Context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def run_scheduled(name: str) -> dict[str, int]:
    """Run a scheduled operation once; returns its counts."""
    counts: dict[str, int] = operation(name)({"source": "aws.events", "detail-type": "Scheduled Event"}, Context())
    return counts
