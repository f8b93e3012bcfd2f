"""What the functions ask of AWS, answered by moto: secrets by ARN, batches of messages, dead letters."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from itlc import aws, events, secrets
from itlc.events import bury, event, send
from itlc.settings import settings
from moto import mock_aws


def forget() -> None:
    """Drop the clients, secrets and settings that this process has kept."""
    for kept in (aws.client, secrets.secret, settings):
        kept.cache_clear()


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS of moto's, and nothing kept from another one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        forget()
        yield
    forget()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The queue `topups`, with its dead-letter queue; reads what is in either."""
    sqs = boto3.client("sqs")
    for variable in ("ITLC_QUEUE_TOPUPS", "ITLC_DLQ_TOPUPS"):
        monkeypatch.setenv(variable, sqs.create_queue(QueueName=variable)["QueueUrl"])

    def read(which: dict[str, str]) -> list[Any]:
        found: list[Any] = []
        while batch := sqs.receive_message(
            QueueUrl=which["topups"], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            found += batch
        return found

    return read


def test_a_secret_is_found_by_its_arn_and_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = boto3.client("secretsmanager")
    arn = manager.create_secret(Name="itlc/orders", SecretString=json.dumps({"url": "postgresql://first"}))["ARN"]
    monkeypatch.setenv("ITLC_SECRET_ORDERS", arn)
    assert secrets.secret("orders")["url"] == "postgresql://first"
    manager.put_secret_value(SecretId=arn, SecretString=json.dumps({"url": "postgresql://second"}))
    assert secrets.secret("orders")["url"] == "postgresql://first"


def test_a_secret_that_the_function_was_not_given_is_named() -> None:
    with pytest.raises(LookupError, match="ITLC_SECRET_WALLET"):
        secrets.secret("wallet")


def test_events_are_sent_ten_at_a_time(queue: Any) -> None:
    sent = [event("topups", "credit", f"topup:{number}", {"number": number}) for number in range(23)]
    assert send(sent) == {item.id for item in sent}
    read = [events.read_event("topups", message["Body"]) for message in queue(settings().queues)]
    assert sorted(item.payload["number"] for item in read) == list(range(23))


def test_what_cannot_be_sent_is_not_raised_and_not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITLC_QUEUE_TOPUPS", "https://sqs.us-east-1.amazonaws.com/000000000000/no-such-queue")
    marked: list[set[str]] = []
    events.send_now([event("topups", "credit", "topup:1", {})], marked.append)
    assert marked == []


def test_a_dead_letter_says_why(queue: Any) -> None:
    bury("topups", "{", "the message is not JSON")
    (letter,) = queue(settings().dead_letter_queues)
    assert letter["Body"] == "{"
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "the message is not JSON"
