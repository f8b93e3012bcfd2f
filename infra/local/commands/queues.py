"""`itlc queues` and `itlc redrive`: what waits, what failed for good, and how to try that again."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.local.commands.terminal import progress, result, say
from infra.local.failure import StackError

if TYPE_CHECKING:  # they take a while to import, which `itlc --help` need not wait for
    from infra.local.deploy import Deployment
    from infra.local.stack import Endpoints

BATCH = 10
HIDDEN_SECONDS = 60
"""For so long a message that is being moved is given to nobody else."""
WAIT_SECONDS = 30
"""How long messages that others have read are waited for: longer than `itlc reconcile` keeps them out of sight."""
CLOCKS_AGREE = timedelta(seconds=5)
LOOK_SECONDS = 1
"""How long SQS is asked to look for messages before it says that it has none."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(queues)
    app.command()(redrive)


def queues() -> None:
    """Show each queue: messages that wait, that are being worked on, how old the oldest is, and dead letters."""
    from rich.table import Table

    endpoints, deployment, sqs = _deployed()
    table = Table("queue", "waiting", "in work", "oldest", "dead letters", "oldest", box=None)
    dead_in_all = 0
    for name, url in deployment.queues.items():
        dead_url = deployment.dead_letter_queues[name]
        waiting, working = count(sqs, url)
        dead, being_read = count(sqs, dead_url)
        letters = dead + being_read
        dead_in_all += letters
        oldest = age(endpoints, url) if waiting + working else "-"
        oldest_dead = age(endpoints, dead_url) if letters else "-"
        shown = f"[red]{letters}[/]" if letters else "0"
        table.add_row(name, str(waiting), str(working), oldest, shown, oldest_dead)
    result.print(table)
    if dead_in_all:
        say("once the cause is mended, `itlc redrive QUEUE` tries dead letters again")


def redrive(queue: Annotated[str, typer.Argument(help="The queue's name, as `itlc queues` shows it.")]) -> None:
    """Move the dead letters of QUEUE back into it, to be tried again. Ends with 1 when it had to leave any."""
    _, deployment, sqs = _deployed()
    if queue not in deployment.queues:
        names = ", ".join(deployment.queues)
        raise StackError("queues", f"there is no queue {queue!r}", what_to_do=f"name one of: {names}")
    with progress.status(f"{queue}: looking for dead letters") as shown:
        moved = move(
            sqs,
            deployment.dead_letter_queues[queue],
            deployment.queues[queue],
            lambda text: shown.update(f"{queue}: {text}"),
        )
    waiting, hidden = count(sqs, deployment.dead_letter_queues[queue])
    say(f"{queue}: {moved} moved" if moved or hidden else f"{queue}: there are no dead letters")
    if waiting:
        say(f"{queue}: {waiting} dead letters came in meanwhile; such as were moved have failed again")
    if hidden:
        say(
            f"{queue}: {hidden} left, out of sight because somebody has just read them (`itlc reconcile` and "
            "`itlc redrive` do): run it again in a minute"
        )
        raise typer.Exit(1)


def count(sqs: Any, url: str) -> tuple[int, int]:
    """How many messages wait in a queue, those that were put off among them, and how many are being worked on."""
    names = [f"ApproximateNumberOfMessages{which}" for which in ("", "Delayed", "NotVisible")]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    ready, put_off, working = (int(found[name]) for name in names)
    return ready + put_off, working


def age(endpoints: "Endpoints", url: str) -> str:
    """How long the oldest message of a queue has been in it, for people to read; "?" where nobody knows.

    Nothing is received for it: that would count as a try of the message. The embedded emulator shows what its queues
    hold; of AWS proper CloudWatch knows the age, as a metric of the last minutes, which begins anew where a message is
    put off.
    """
    seconds = _age_in_emulator(endpoints.aws_endpoint, url)
    if seconds is None:
        seconds = _age_by_metric(endpoints, url)
    return "?" if seconds is None else str(timedelta(seconds=max(0, round(seconds))))


def _age_in_emulator(endpoint: str, url: str) -> float | None:
    import httpx

    try:
        answer = httpx.get(f"{endpoint}/_ministack/sqs/messages", params={"QueueUrl": url}, timeout=5)
        by_account = answer.raise_for_status().json()["messages"]
    except (httpx.HTTPError, ValueError, LookupError):
        return None
    sent = [
        _sent_at(message)
        for by_region in by_account.values()
        for queues in by_region.values()
        for messages in queues.values()
        for message in messages
    ]
    return datetime.now(UTC).timestamp() - min(sent) if sent else None


def _sent_at(message: dict[str, Any]) -> float:
    """When a message was sent, before it was put off for the first time, in seconds since 1970."""
    from itlc.events import FIRST_SENT

    carried = message["MessageAttributes"].get(FIRST_SENT)
    return float(carried["StringValue"]) / 1000 if carried else float(message["SentTimestamp"])


def _age_by_metric(endpoints: "Endpoints", url: str) -> float | None:
    from infra.local.secret_store import aws_client

    until = datetime.now(UTC)
    found = aws_client(endpoints, "cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": url.rpartition("/")[2]}],
        StartTime=until - timedelta(minutes=15),
        EndTime=until,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    return float(max(found, key=lambda point: point["Timestamp"])["Maximum"]) if found else None


def move(sqs: Any, source: str, target: str, told: Callable[[str], None] = lambda text: None) -> int:
    """Send each message of the queue `source` to `target`, and only then delete it; returns how many.

    A message that somebody has just read is out of sight: it is waited for, up to WAIT_SECONDS without any coming into
    sight. `told` gets a word on how far it is.

    Cut off between the two, a message is in both, which does no harm: consumers apply it once. The attribute `reason`
    stays behind, for it was the verdict on the last try. What comes in meanwhile stays, be it new or one that was moved
    and has failed again at once: it takes no other's turn. Raises StackError when `target` refuses one.
    """
    from itlc.events import in_batches

    begun = _now(sqs, source)
    left = sum(count(sqs, source))
    moved = 0
    later: dict[str, str] = {}
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while moved < left:
            got = sqs.receive_message(
                QueueUrl=source,
                MaxNumberOfMessages=min(BATCH, left - moved),
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=LOOK_SECONDS,
                AttributeNames=["SentTimestamp"],
            ).get("Messages", [])
            before = [message for message in got if int(message["Attributes"]["SentTimestamp"]) <= begun]
            later |= {message["MessageId"]: message["ReceiptHandle"] for message in got if message not in before}
            for batch in in_batches(before, lambda message: message["Body"]):
                moved += _move_batch(sqs, source, target, batch)
                told(f"{moved} of {left} moved")
                deadline = time.monotonic() + WAIT_SECONDS
            if not before:
                there = sum(count(sqs, source)) - len(later)
                if there <= 0 or time.monotonic() > deadline:
                    break
                told(f"{moved} of {left} moved; waiting for {there} that were just read and are out of sight")
    finally:
        for receipt in later.values():  # given back at the end: else they would be received again and again
            sqs.change_message_visibility(QueueUrl=source, ReceiptHandle=receipt, VisibilityTimeout=0)
    return moved


def _now(sqs: Any, url: str) -> float:
    """The present moment in milliseconds, by this machine's clock; by that of SQS, to the second, where the two are
    further apart than asking takes."""
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    here = datetime.now(UTC)
    there = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    told = parsedate_to_datetime(there) if there else here
    return (here if abs(told - here) < CLOCKS_AGREE else told).timestamp() * 1000


def _move_batch(sqs: Any, source: str, target: str, batch: list[tuple[Any, str]]) -> int:
    entries = [{"Id": str(number), "MessageBody": body} for number, (_, body) in enumerate(batch)]
    sent = sqs.send_message_batch(QueueUrl=target, Entries=entries)
    done = [batch[int(taken["Id"])][0] for taken in sent.get("Successful", [])]
    for message in done:
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
    if len(done) < len(batch):
        raise StackError(
            "queues",
            f"the queue refused {len(batch) - len(done)} of {len(batch)} messages",
            what_to_do="run it again in a minute: those that were refused are still dead letters",
        )
    return len(done)


def _deployed() -> "tuple[Endpoints, Deployment, Any]":
    from infra.local.deploy import describe
    from infra.local.secret_store import aws_client
    from infra.local.stack import Stack, default_state_dir

    endpoints = Stack(default_state_dir()).endpoints()
    deployment = describe(endpoints)
    if deployment is None:
        raise StackError("queues", "nothing is deployed", what_to_do="deploy with `itlc up`")
    return endpoints, deployment, aws_client(endpoints, "sqs")
