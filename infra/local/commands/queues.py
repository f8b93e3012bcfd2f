"""`itlc queues` and `itlc redrive`: what waits, what failed for good, and how to try that again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.local.commands.terminal import progress, result, say
from infra.local.failure import StackError

if TYPE_CHECKING:  # they take a while to import, which `itlc --help` need not wait for
    from infra.local.deploy import Deployment
    from infra.local.stack import Endpoints

BATCH = 10
HIDDEN_SECONDS = 60


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
    """Move the dead letters of QUEUE back into it, to be tried again."""
    _, deployment, sqs = _deployed()
    if queue not in deployment.queues:
        names = ", ".join(deployment.queues)
        raise StackError("queues", f"there is no queue {queue!r}", what_to_do=f"name one of: {names}")
    with progress.status(f"{queue}: looking for dead letters") as shown:
        moved = move(
            sqs,
            deployment.dead_letter_queues[queue],
            deployment.queues[queue],
            lambda done, of: shown.update(f"{queue}: {done} of {of} moved"),
        )
    say(f"{queue}: {moved} moved" if moved else f"{queue}: there are no dead letters")


def count(sqs: Any, url: str) -> tuple[int, int]:
    """How many messages wait in a queue, and how many are being worked on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    waiting, working = (int(found[name]) for name in names)
    return waiting, working


def age(endpoints: "Endpoints", url: str) -> str:
    """How long the oldest message of a queue has been in it, for people to read; "?" where nobody knows.

    Nothing is received for it: that would count as a try of the message. The embedded emulator shows what its queues
    hold; of AWS proper CloudWatch knows the age, as a metric of the last minutes.
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
        message["SentTimestamp"]
        for by_region in by_account.values()
        for queues in by_region.values()
        for messages in queues.values()
        for message in messages
    ]
    return datetime.now(UTC).timestamp() - min(sent) if sent else None


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


def move(sqs: Any, source: str, target: str, moved_so_far: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Send each message of the queue `source` to `target`, and only then delete it; returns how many.

    `moved_so_far` is told after each batch how many were moved, and of how many.

    Cut off between the two, a message is in both, which does no harm: consumers apply it once. The attribute `reason`
    stays behind, for it was the verdict on the last try. At most as many are moved as there were at the beginning, so
    that one which fails again at once is not moved for ever.
    """
    left, _ = count(sqs, source)
    moved = 0
    while moved < left:
        asked = min(BATCH, left - moved)
        got = sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=asked, VisibilityTimeout=HIDDEN_SECONDS)
        messages = got.get("Messages", [])
        if not messages:
            break
        entries = [{"Id": str(n), "MessageBody": message["Body"]} for n, message in enumerate(messages)]
        sent = sqs.send_message_batch(QueueUrl=target, Entries=entries)
        done = [messages[int(taken["Id"])] for taken in sent.get("Successful", [])]
        for message in done:
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        moved += len(done)
        moved_so_far(moved, left)
        if len(done) < len(messages):
            raise StackError(
                "queues",
                f"the queue took {moved} messages, and refused {len(messages) - len(done)}",
                what_to_do="run it again: those that were refused are still dead letters",
            )
    return moved


def _deployed() -> "tuple[Endpoints, Deployment, Any]":
    from infra.local.deploy import describe
    from infra.local.secret_store import aws_client
    from infra.local.stack import Stack, default_state_dir

    endpoints = Stack(default_state_dir()).endpoints()
    deployment = describe(endpoints)
    if deployment is None:
        raise StackError("queues", "nothing is deployed", what_to_do="deploy with `itlc up`")
    return endpoints, deployment, aws_client(endpoints, "sqs")
