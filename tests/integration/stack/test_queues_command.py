"""`itlc queues` and `itlc redrive`: how many messages, how old, and back into their queue."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import typer
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
from tests.support.waiting import eventually


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


@pytest.mark.usefixtures("sqs")
def test_a_message_that_was_put_off_waits_since_it_was_first_sent(capsys: pytest.CaptureFixture[str]) -> None:
    two_hours_ago = datetime.now() - timedelta(hours=2)
    events.put_off("topups", "1", str(int(two_hours_ago.timestamp() * 1000)))
    queues.queues()
    waiting, working, oldest, *_ = lines(capsys)["topups"]
    assert (waiting, working, oldest[:5]) == ("1", "0", "2:00:")


def dead(queue: str) -> str:
    """The URL of the queue's dead letters."""
    return settings().dead_letter_queues[queue]


def test_dead_letters_go_back_into_their_queue_as_they_were(sqs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(23):
        events.bury("topups", f'{{"number": {number}}}', "a reason")
    told: list[str] = []
    assert queues.move(sqs, dead("topups"), settings().queues["topups"], told.append) == 23
    assert told == ["10 of 23 moved", "20 of 23 moved", "23 of 23 moved"]
    assert sorted(receive_all("topups")) == sorted(f'{{"number": {number}}}' for number in range(23))
    assert queues.count(sqs, dead("topups")) == (0, 0)
    queues.redrive("topups")
    assert "there are no dead letters" in capsys.readouterr().err


def test_dead_letters_that_are_too_large_for_one_request_go_back_in_several(sqs: Any) -> None:
    bodies = [f"{number}{'x' * 200_000}" for number in range(10)]
    for body in bodies:
        events.bury("topups", body, "a reason")
    batches: list[int] = []

    class Strict:
        """SQS as AWS has it, which takes 256 KiB in one request; the emulator takes more."""

        def __getattr__(self, name: str) -> Any:
            return getattr(sqs, name)

        def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:  # noqa: N803
            assert sum(len(entry["MessageBody"].encode()) for entry in Entries) <= 256 * 1024
            batches.append(len(Entries))
            return sqs.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)

    assert queues.move(Strict(), dead("topups"), settings().queues["topups"]) == 10
    assert batches == [1] * 10
    assert sorted(receive_all("topups")) == bodies


def test_dead_letters_that_their_queue_refuses_stay(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        sqs.send_message(QueueUrl=dead("topups"), MessageBody=str(number))
    send = sqs.send_message_batch

    def take_one(QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
        return send(QueueUrl=QueueUrl, Entries=Entries[:1])

    with monkeypatch.context() as patched:
        patched.setattr(sqs, "send_message_batch", take_one)
        with pytest.raises(StackError, match="refused 2 of 3"):
            queues.move(sqs, dead("topups"), settings().queues["topups"])
    assert sum(queues.count(sqs, dead("topups"))) == 2
    assert len(receive_all("topups")) == 1


def test_dead_letters_that_somebody_has_just_read_are_waited_for(sqs: Any) -> None:
    for number in range(3):
        events.bury("topups", str(number), "a reason")
    read = sqs.receive_message(QueueUrl=dead("topups"), MaxNumberOfMessages=2, VisibilityTimeout=3)["Messages"]
    assert len(read) == 2
    told: list[str] = []
    assert queues.move(sqs, dead("topups"), settings().queues["topups"], told.append) == 3
    assert told[0] == "1 of 3 moved"
    assert told[1] == "1 of 3 moved; waiting for 2 that were just read and are out of sight"
    assert told[-1] == "3 of 3 moved"
    assert sorted(receive_all("topups")) == ["0", "1", "2"]


class Bouncing:
    """SQS, with a consumer that buries at once whatever is moved into a queue."""

    def __init__(self, sqs: Any) -> None:
        self.sqs = sqs
        self.moved: list[str] = []
        """The bodies of all that was moved."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sqs, name)

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:  # noqa: N803
        taken = self.sqs.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)
        for entry in Entries:
            self.moved.append(entry["MessageBody"])
            events.bury("topups", entry["MessageBody"], "failed again")
        return taken


def test_dead_letters_that_fail_again_at_once_take_no_others_turn(
    sqs: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = sorted(str(number) for number in range(13))
    for body in bodies:
        events.bury("topups", body, "a reason")
    bouncing = Bouncing(sqs)
    endpoints, deployment, _ = queues._deployed()
    monkeypatch.setattr(queues, "_deployed", lambda: (endpoints, deployment, bouncing))
    queues.redrive("topups")
    assert sorted(bouncing.moved) == bodies, "each was moved once"
    assert queues.count(sqs, dead("topups")) == (13, 0), "those that came back can be seen by everybody"
    said = " ".join(capsys.readouterr().err.split())
    assert "topups: 13 moved" in said
    assert "topups: 13 dead letters came in meanwhile" in said


def test_a_clock_that_is_wrong_leaves_no_dead_letter_behind(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(datetime):
        """A clock that is an hour behind."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    events.bury("topups", "1", "a reason")
    monkeypatch.setattr(queues, "datetime", Slow)
    # To the second: what SQS got in the present one may count as new.
    eventually(
        lambda: queues.move(sqs, dead("topups"), settings().queues["topups"]) == 1, "the dead letter is moved", within=5
    )


def test_dead_letters_that_stay_out_of_sight_are_told_of(
    sqs: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "WAIT_SECONDS", 0)
    for number in range(2):
        events.bury("topups", str(number), "a reason")
    sqs.receive_message(QueueUrl=dead("topups"), MaxNumberOfMessages=10, VisibilityTimeout=60)
    with pytest.raises(typer.Exit) as ended:
        queues.redrive("topups")
    assert ended.value.exit_code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "there are no dead letters" not in said
    assert "topups: 2 left, out of sight" in said


@pytest.mark.usefixtures("sqs")
def test_a_queue_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StackError, match="no queue 'top-ups'"):
        queues.redrive("top-ups")
