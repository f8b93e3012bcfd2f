"""`itlc queues` and `itlc redrive`: how many messages, how old, and back into their queue."""

import re
from typing import Any

import pytest
from itlc import events
from itlc.settings import QUEUES, settings

from infra.local.commands import queues
from infra.local.commands.terminal import result
from infra.local.deploy import Deployment
from infra.local.failure import StackError
from infra.local.secret_store import aws_client
from infra.local.stack import Endpoints
from tests.support.queues import receive_all
from tests.support.stack import Stores


@pytest.fixture
def sqs(stores: Stores, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The test's queues, empty, as those that are deployed."""
    at = {name: settings().queues[name] for name in QUEUES}
    deployment = Deployment("", "", at, dict(settings().dead_letter_queues))
    client = aws_client(endpoints, "sqs")
    monkeypatch.setattr(queues, "_deployed", lambda: (endpoints, deployment, client))
    monkeypatch.setattr(result, "width", 200)
    return client


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """What was printed, by its first word."""
    return {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}


def test_it_shows_how_many_wait_and_how_old_the_oldest_is(sqs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        sqs.send_message(QueueUrl=settings().queues["topups"], MessageBody=str(number))
    events.bury("payments", "not JSON {", "the message is not JSON")
    for _ in range(7):  # more often than a message is tried: looking is no try
        queues.queues()
    assert len(receive_all("topups")) == 3
    shown = lines(capsys)
    assert set(shown) == {"queue", *QUEUES}
    assert shown["notifications"] == ["0", "0", "-", "0", "-"]
    waiting, working, oldest, *dead = shown["topups"]
    assert (waiting, working, dead) == ("3", "0", ["0", "-"])
    assert re.fullmatch(r"0:00:\d\d", oldest)
    *_, letters, oldest = shown["payments"]
    assert letters == "1"
    assert re.fullmatch(r"0:00:\d\d", oldest)


def test_dead_letters_go_back_into_their_queue_as_they_were(sqs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(23):
        events.bury("topups", f'{{"number": {number}}}', "a reason")
    told: list[tuple[int, int]] = []
    moved = queues.move(
        sqs,
        settings().dead_letter_queues["topups"],
        settings().queues["topups"],
        lambda done, of: told.append((done, of)),
    )
    assert moved == 23
    assert told == [(10, 23), (20, 23), (23, 23)]
    assert sorted(receive_all("topups")) == sorted(f'{{"number": {number}}}' for number in range(23))
    assert queues.count(sqs, settings().dead_letter_queues["topups"]) == (0, 0)
    queues.redrive("topups")
    assert "there are no dead letters" in capsys.readouterr().err


@pytest.mark.usefixtures("sqs")
def test_a_queue_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StackError, match="no queue 'top-ups'"):
        queues.redrive("top-ups")
