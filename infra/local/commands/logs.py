"""`itlc logs`: what a function logged, or what the servers did."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.local.commands.terminal import say
from infra.local.failure import StackError, last_lines

POLL_SECONDS = 0.5
SERVER_LINES = 20
LOOK_BACK_HOURS = 24


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(logs)


def logs(
    function: Annotated[str | None, typer.Argument(help="A function, by its name or a part of it.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
) -> None:
    """Show what FUNCTION logged in the last 24 hours; without FUNCTION, the ends of the servers' logs."""
    from infra.local.stack import Stack, default_state_dir

    try:
        if function is None:
            _show_servers(default_state_dir() / "logs", follow)
        else:
            _show_function(Stack(default_state_dir()), function, follow)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _show_servers(folder: Path, follow: bool) -> None:
    files = sorted(folder.glob("*.log"))
    if not files:
        raise StackError("stack", f"there are no logs in {folder}", what_to_do="start the stack with `itlc up`")
    ends = {file: file.stat().st_size for file in files}
    for file in files:
        for line in last_lines(file, SERVER_LINES):
            typer.echo(f"{file.stem:9} {line}")
    while follow:
        for file in files:
            with file.open("rb") as opened:
                opened.seek(ends[file])
                # A line that is still being written waits for its end.
                whole, newline, _ = opened.read().rpartition(b"\n")
            ends[file] += len(whole) + len(newline)
            for line in whole.decode("utf-8", "replace").splitlines():
                typer.echo(f"{file.stem:9} {line}")
        time.sleep(POLL_SECONDS)


def _show_function(stack: Any, wanted: str, follow: bool) -> None:
    from botocore.config import Config
    from localstack_client.session import Session

    from infra.local.aws import TEST_KEYS

    endpoints = stack.endpoints()
    # The same client for the embedded emulator and for LocalStack proper, whichever `AWS_ENDPOINT_URL` names.
    session = Session(
        aws_access_key_id=TEST_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=TEST_KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=endpoints.region,
        localstack_host=endpoints.aws_endpoint.split("://", 1)[1],
    )

    def client(service: str) -> Any:
        return session.client(service, config=Config(retries={"total_max_attempts": 3}))

    pages = client("lambda").get_paginator("list_functions").paginate()
    function = find_function([item for page in pages for item in page["Functions"]], wanted)
    name = function["FunctionName"]
    group = function.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}"
    say(f"{name}, from the log group {group}")
    since = int((time.time() - LOOK_BACK_HOURS * 3600) * 1000)
    shared = group != f"/aws/lambda/{name}"
    events = _events(client("logs"), group, since, ours=_Streams(name, wanted) if shared else list)
    for event in events:
        if event is None:
            if not follow:
                return
            time.sleep(POLL_SECONDS)
            continue
        moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
        typer.echo(f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z {event['message'].rstrip()}")


def find_function(functions: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The one of `functions` that is called `wanted`, or else has `wanted` in its name; `-`, `_` and case do not count.

    Raises StackError naming the candidates when there are several, or none.
    """

    def plain(name: str) -> str:
        return "".join(filter(str.isalnum, name)).lower()

    by_name = {function["FunctionName"]: function for function in functions}
    if wanted in by_name:
        return by_name[wanted]
    found = [name for name in by_name if plain(wanted) in plain(name)]
    if len(found) == 1:
        return by_name[found[0]]
    some = sorted(found or by_name)
    listed = ", ".join(some[:20]) + (", ..." if len(some) > 20 else "")
    raise StackError(
        "aws",
        f"{len(found)} functions have {wanted!r} in their names"
        if found
        else f"no function has {wanted!r} in its name",
        what_to_do=f"name one of: {listed}" if listed else "deploy first, with `itlc up`",
    )


class _Streams:
    """Tells the events of one function from its neighbours' in a log group that they share.

    AWS writes the function's name into the stream's; the emulator gives each call a stream of its own without it, where
    the function is known by a line that names it.
    """

    def __init__(self, name: str, operation: str) -> None:
        self._name, self._operation = name, operation
        self._ours: set[str] = set()

    def __call__(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for event in batch:
            if self._name in event["logStreamName"] or self._names_us(event["message"]):
                self._ours.add(event["logStreamName"])
        return [event for event in batch if event["logStreamName"] in self._ours]

    def _names_us(self, message: str) -> bool:
        try:
            line = json.loads(message)
        except ValueError:
            return False
        if not isinstance(line, dict):
            return False
        return line.get("function_name") == self._name or line.get("service") == self._operation


def _events(
    client: Any, group: str, since: int, ours: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> Iterator[dict[str, Any] | None]:
    """The events of `group` from the millisecond `since` on, each once; None whenever there are no more for now."""
    seen: set[str] = set()
    pages = client.get_paginator("filter_log_events")
    while True:
        batch = []
        try:
            for page in pages.paginate(logGroupName=group, startTime=since):
                batch += page["events"]
        except client.exceptions.ResourceNotFoundException:
            batch = []  # nothing was logged yet
        fresh = [event for event in batch if _identity(event) not in seen]
        seen.update(map(_identity, fresh))
        if fresh:
            # Events come late: look back a minute, and leave out what was shown.
            since = max(since, fresh[-1]["timestamp"] - 60_000)
        yield from ours(fresh)
        yield None


def _identity(event: dict[str, Any]) -> str:
    return f"{event.get('eventId')} {event['logStreamName']} {event['timestamp']} {event['message']}"
