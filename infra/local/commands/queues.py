"""`itlc queues` and `itlc redrive`: what waits, what failed for good, and how to try that again."""

from typing import Annotated, Any

import typer

from infra.local.commands.terminal import result, say
from infra.local.failure import StackError

BATCH = 10
HIDDEN_SECONDS = 60


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(queues)
    app.command()(redrive)


def queues() -> None:
    """Show each queue: messages that wait, that are being worked on, and dead letters."""
    from rich.table import Table

    deployment, sqs = _deployed()
    table = Table("queue", "waiting", "in work", "dead letters", box=None)
    dead_in_all = 0
    for name, url in deployment.queues.items():
        waiting, working = count(sqs, url)
        dead, being_read = count(sqs, deployment.dead_letter_queues[name])
        dead_in_all += dead + being_read
        table.add_row(name, str(waiting), str(working), f"[red]{dead + being_read}[/]" if dead + being_read else "0")
    result.print(table)
    if dead_in_all:
        say("once the cause is mended, `itlc redrive QUEUE` tries dead letters again")


def redrive(queue: Annotated[str, typer.Argument(help="The queue's name, as `itlc queues` shows it.")]) -> None:
    """Move the dead letters of QUEUE back into it, to be tried again."""
    deployment, sqs = _deployed()
    if queue not in deployment.queues:
        names = ", ".join(deployment.queues)
        raise StackError("queues", f"there is no queue {queue!r}", what_to_do=f"name one of: {names}")
    moved = move(sqs, deployment.dead_letter_queues[queue], deployment.queues[queue])
    say(f"{queue}: {moved} moved" if moved else f"{queue}: there are no dead letters")


def count(sqs: Any, url: str) -> tuple[int, int]:
    """How many messages wait in a queue, and how many are being worked on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    waiting, working = (int(found[name]) for name in names)
    return waiting, working


def move(sqs: Any, source: str, target: str) -> int:
    """Send each message of the queue `source` to `target`, and only then delete it; returns how many.

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
        if len(done) < len(messages):
            raise StackError(
                "queues",
                f"the queue took {moved} messages, and refused {len(messages) - len(done)}",
                what_to_do="run it again: those that were refused are still dead letters",
            )
    return moved


def _deployed() -> tuple[Any, Any]:
    from infra.local.deploy import describe
    from infra.local.secret_store import aws_client
    from infra.local.stack import Stack, default_state_dir

    endpoints = Stack(default_state_dir()).endpoints()
    deployment = describe(endpoints)
    if deployment is None:
        raise StackError("queues", "nothing is deployed", what_to_do="deploy with `itlc up`")
    return deployment, aws_client(endpoints, "sqs")
