"""The limits as a caller meets them over HTTP: sizes, the gateway's own throttling, what is no good request."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.local.deploy import Deployment
from infra.local.secret_store import aws_client
from infra.local.stack import Endpoints
from tests.e2e.test_deployed import is_problem


@pytest.fixture
def throttled(endpoints: Endpoints, deployment: Deployment) -> Iterator[Any]:
    """`GET /health` is throttled by the gateway while the test runs; everything as it was afterwards."""
    gateway = aws_client(endpoints, "apigateway")
    api_id = deployment.api_url.split("/")[-2]

    def set_limits(rate: str, burst: str) -> None:
        gateway.update_stage(
            restApiId=api_id,
            stageName="v1",
            patchOperations=[
                {"op": "replace", "path": f"/~1health/GET/throttling/{name}", "value": value}
                for name, value in (("rateLimit", rate), ("burstLimit", burst))
            ],
        )

    set_limits("0", "0")
    yield
    set_limits("10000", "10000")


def test_what_the_gateway_throttles_is_a_429_problem(throttled: None, http: httpx.Client) -> None:
    refused = http.get("/health")
    is_problem(refused, 429)
    assert refused.headers["retry-after"] == "1"
    assert http.get("/services").status_code == 200, "the others go on"


def test_a_body_of_over_256_kib_is_a_413_problem(http: httpx.Client) -> None:
    body = b'{"name": "' + b"x" * (256 * 1024) + b'"}'
    is_problem(http.post("/users", content=body), 413)
    assert is_problem(http.post("/users", content=body[-256 * 1024 :]), 400)["title"] == "Bad Request"


@pytest.mark.parametrize("service_id", ["%00", "%2e%2e", "%EF%BC%91", "%ED%A0%80", "9" * 3000, "1%0d%0aX: y", "%27--"])
def test_what_cannot_be_an_id_is_a_404_problem(http: httpx.Client, service_id: str) -> None:
    is_problem(http.get(f"/services/{service_id}"), 404)


@pytest.mark.parametrize("query", ["q=%00", "q=%ED%A0%80&x=1", "limit=1&limit=2", "limit=%EF%BC%91", "colour=red"])
def test_a_hostile_query_is_a_422_problem(http: httpx.Client, query: str) -> None:
    is_problem(http.get(f"/services?{query}"), 422)


def test_a_request_id_that_is_none_is_replaced(http: httpx.Client) -> None:
    answer = http.get("/health", headers={"X-Request-Id": "a" * 5000})
    assert answer.status_code == 200
    assert len(answer.headers["x-request-id"]) == 36


def test_guessing_over_http_is_throttled_for_unknown_accounts_too(http: httpx.Client) -> None:
    """With the settings that are deployed: many a failure is free, and then there is no end to waiting."""
    headers = {"X-Forwarded-For": "198.51.100.77"}  # what the emulator takes for the source's address
    guess = {"email": "nobody.at.all@example.org", "password": "not the one"}
    statuses = []
    for _ in range(80):
        answer = http.post("/sessions", json=guess, headers=headers)
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            is_problem(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1
            break
    assert statuses == [401] * 50 + [429]
