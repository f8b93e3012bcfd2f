"""What only shows once the functions are deployed: the gateway's own answers, the packages, a second deployment."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from itlc.answers import EXPOSED
from itlc.settings import QUEUES

from infra.local import deploy as deploying
from infra.local import template
from infra.local.deploy import Deployment, deploy, describe
from infra.local.failure import StackError
from infra.local.operations import load_operations
from infra.local.reach import ROOT
from infra.local.secret_store import aws_client
from infra.local.stack import Endpoints
from tests.support.mailbox import Mailbox
from tests.support.waiting import eventually

MAIL_WITHIN_SECONDS = 90  # the first call of a queue's function takes a while on a busy machine
REQUEST_ID = "0190f5a8-6f1e-7cc4-9d5e-0b6f6f1c2a77"
ALLOWED = {"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id"}


def is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that `response` is, after looking at what every problem has."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-expose-headers"] == EXPOSED
    assert response.headers["x-request-id"]
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "instance"} <= body.keys()
    assert body["instance"] == response.headers["x-request-id"]
    return body


def test_health_answers_and_keeps_the_request_id(http: httpx.Client) -> None:
    response = http.get("/health", headers={"X-Request-Id": REQUEST_ID})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["x-request-id"] == REQUEST_ID
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-expose-headers"] == EXPOSED


def test_readiness_names_each_store_and_queue(http: httpx.Client) -> None:
    response = http.get("/ready")
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["status"] == "ready"
    databases = {"itlc_users", "itlc_api", "itlc_orders", "itlc_tokens", "itlc_templates"}
    assert body["stores"] == dict.fromkeys(databases | {"itlc_pbfr", "neo4j"}, "up")
    assert body["queues"] == dict.fromkeys(QUEUES, "up")


def test_readiness_is_503_and_names_the_queue_that_is_away(
    http: httpx.Client, endpoints: Endpoints, deployment: Deployment
) -> None:
    sqs = aws_client(endpoints, "sqs")
    url = deployment.queues["erasures"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.delete_queue(QueueUrl=url)
    try:
        response = http.get("/ready")
        assert response.status_code == 503, response.text
        assert response.headers["retry-after"]
        body = response.json()
        assert body["status"] == "not ready"
        assert body["queues"] == {name: "away" if name == "erasures" else "up" for name in QUEUES}
        assert set(body["stores"].values()) == {"up"}
    finally:
        sqs.create_queue(QueueName=url.rpartition("/")[2], Attributes=attributes)


def test_an_unknown_route_is_a_404_problem(http: httpx.Client) -> None:
    assert is_problem(http.get("/nowhere"), 404)["title"] == "Not Found"
    assert is_problem(http.put("/health"), 404)


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic QTpC"}])
def test_without_a_good_token_it_is_a_401_problem(http: httpx.Client, header: dict[str, str]) -> None:
    response = http.get("/users/me", headers=header)
    assert is_problem(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_refusal_of_the_function_reads_like_the_gateways(http: httpx.Client) -> None:
    assert is_problem(http.get("/services/999999"), 404)
    assert is_problem(http.get("/services", params={"limit": "many"}), 422)["errors"][0]["field"] == "limit"
    assert is_problem(http.post("/users", content=b"{"), 400)


def test_preflight_allows_what_the_contract_names(http: httpx.Client) -> None:
    asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    response = http.options("/services", headers=asks)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert set(response.headers["access-control-allow-headers"].split(", ")) == ALLOWED
    assert {"GET", "POST"} <= set(response.headers["access-control-allow-methods"].split(","))


def test_the_contract_is_served_as_committed(http: httpx.Client) -> None:
    response = http.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads((ROOT / "infra" / "openapi.json").read_text(encoding="utf-8"))


def test_the_docs_page_needs_no_other_host(http: httpx.Client) -> None:
    response = http.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "SwaggerUIBundle({" in response.text
    assert 'url: "openapi.json"' in response.text
    assert "swagger-ui.css */" not in response.text
    assert "<script src" not in response.text
    assert '<link rel="stylesheet"' not in response.text


def run_beside(endpoints: Endpoints, function: str, code: str, folder: Path) -> Any:
    """What the function body `code` returns, run as a new function with the role, the layers and the environment of
    the deployed one whose name has `function` in it."""
    functions = aws_client(endpoints, "lambda")
    pages = functions.get_paginator("list_functions").paginate()
    (like,) = (item for page in pages for item in page["Functions"] if f"-{function}-" in item["FunctionName"])
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    (folder / "beside.py").write_text(f"def app(event, context):\n{lines}")
    functions.create_function(
        FunctionName="beside",
        Runtime=like["Runtime"],
        Role=like["Role"],
        Handler="beside.app",
        Code={"ZipFile": deploying.archive(folder)},
        Environment={"Variables": like["Environment"]["Variables"]},
        Layers=[layer["Arn"] for layer in like["Layers"]],
        Timeout=30,
    )
    try:
        return json.loads(functions.invoke(FunctionName="beside")["Payload"].read())
    finally:
        functions.delete_function(FunctionName="beside")


@pytest.mark.usefixtures("deployment")
def test_functions_run_the_layers_code_not_the_checkouts(endpoints: Endpoints, tmp_path: Path) -> None:
    where = run_beside(endpoints, "ShowHealth", "import itlc.operation\nreturn itlc.operation.__file__", tmp_path)
    assert where.endswith("/python/itlc/operation.py"), where
    assert not Path(where).is_relative_to(ROOT)


@pytest.mark.usefixtures("deployment")
def test_a_function_may_use_its_own_secrets_and_queues_and_no_others(endpoints: Endpoints, tmp_path: Path) -> None:
    """What `top_up` can reach in its source is what its role lets it use."""
    tries = """
from itlc import aws, settings
from botocore.exceptions import ClientError
def may(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "yes"
read = aws.client("secretsmanager").get_secret_value
secrets = {name: may(read, SecretId=arn) for name, arn in settings.settings().secrets.items()}
send = aws.client("sqs").send_message
queues = {
    name: may(send, QueueUrl=url, MessageBody="{}")
    for name, url in settings.settings().queues.items()
    if name != "topups"
}
return {"secrets": secrets, "queues": queues}
"""
    (top_up,) = (found for found in load_operations() if found.app.name == "top_up")
    assert top_up.reach.queues == {"topups"}
    said = run_beside(endpoints, "TopUp", tries, tmp_path)
    refused = {name for name, answer in said["secrets"].items() if answer == "AccessDeniedException"}
    assert refused == said["secrets"].keys() - top_up.reach.secrets, said
    assert refused >= {"orders", "sessions", "cursors", "mongodb"}
    assert {name for name, answer in said["secrets"].items() if answer == "yes"} == top_up.reach.secrets, said
    assert said["queues"] == dict.fromkeys(set(QUEUES) - {"topups"}, "AccessDenied"), said


def test_a_mail_goes_out_through_outbox_queue_and_consumer(http: httpx.Client, endpoints: Endpoints) -> None:
    """Through everything at once: the outbox, the queue, its consumer and what its role may do."""
    ada = {"name": "Ada", "email": f"ada-{uuid.uuid4().hex}@example.org", "password": uuid.uuid4().hex}
    assert http.post("/users", json=ada).status_code == 201
    mailbox = Mailbox(endpoints)
    assert http.post("/password-resets", json={"email": ada["email"]}).status_code == 202
    eventually(lambda: mailbox.mails(ada["email"]), "the mail is there", within=MAIL_WITHIN_SECONDS)
    token = mailbox.reset_token(ada["email"])
    new = uuid.uuid4().hex
    assert http.post(f"/password-resets/{token}", json={"new_password": new}).status_code == 204
    assert http.post("/sessions", json={"email": ada["email"], "password": ada["password"]}).status_code == 401
    assert http.post("/sessions", json={"email": ada["email"], "password": new}).status_code == 201


def test_a_second_deployment_changes_nothing(endpoints: Endpoints, deployment: Deployment) -> None:
    said: list[str] = []
    began = time.monotonic()
    assert deploy(endpoints, said.append) == deployment
    took = time.monotonic() - began
    assert "nothing has changed" in said[-1]
    assert took < 10, f"it took {took:.1f} s"  # a second on an idle machine
    assert describe(endpoints) == deployment
    assert deployment.queues.keys() == deployment.dead_letter_queues.keys() == set(QUEUES)


def test_a_deployment_that_fails_says_why_and_changes_nothing(
    endpoints: Endpoints, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, http: httpx.Client
) -> None:
    broken = template.load()
    broken["Resources"]["TopupsQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] = 0
    monkeypatch.setattr(template, "load", lambda: broken)
    with pytest.raises(StackError) as failure:
        deploy(endpoints, lambda text: None)
    assert "TopupsQueue" in str(failure.value)
    monkeypatch.undo()
    deploy(endpoints, lambda text: None)
    assert http.get("/health").status_code == 200
