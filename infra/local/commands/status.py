"""`itlc status`: what runs, where, and how to reach it."""

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from infra.local.commands.terminal import result
from infra.local.stack import Endpoints, Stack, default_state_dir


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(status)


def status(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with every address. It holds passwords.")
    ] = False,
) -> None:
    """Show each server of the stack. Ends with 1 when one is not up."""
    stack = Stack(default_state_dir())
    if as_json:
        typer.echo(json.dumps(describe(stack.endpoints()), indent=2))
        return

    from rich.table import Table

    parts = stack.status()
    table = Table("part", "state", "process", "address", box=None)
    for part in parts:
        state = "[green]up[/]" if part.running else "[red]down[/]"
        table.add_row(
            part.title,
            f"{state} (not ours)" if part.external else state,
            str(part.pid or ""),
            part.address or "",
        )
    result.print(table)
    result.print(f"logs in {stack.state_dir / 'logs'}, or `itlc logs`", highlight=False, soft_wrap=True)
    if not all(part.running for part in parts):
        result.print("start what is down with `itlc up`", highlight=False)
        raise typer.Exit(1)
    deployment = _deployment(stack.endpoints())
    result.print(f"API   {deployment.api_url}" if deployment else "nothing is deployed: `itlc up`", highlight=False)
    if deployment:
        result.print(f"docs  {deployment.docs_url}", highlight=False)


def describe(endpoints: Endpoints) -> dict[str, Any]:
    """Every address of the running stack, as the operator's contract lays it out.

    Store URLs are those of owners. `api_url` and `docs_url` are None and `queues` is empty before the first deployment;
    a process id is None for a server that the stack did not start.
    """
    deployment = _deployment(endpoints)
    return {
        "api_url": deployment.api_url if deployment else None,
        "docs_url": deployment.docs_url if deployment else None,
        "aws_endpoint": endpoints.aws_endpoint,
        "region": endpoints.region,
        "postgres": {name: credentials.owner_url for name, credentials in endpoints.postgres.items()},
        "mongodb": endpoints.mongodb_url,
        "neo4j": {
            "uri": endpoints.neo4j_uri,
            "user": endpoints.neo4j_user,
            "password": endpoints.neo4j_password,
            "database": endpoints.neo4j_database,
        },
        "queues": dict(deployment.queues) if deployment else {},
        "pids": dict(endpoints.pids),
        "state_dir": str(endpoints.state_dir),
    }


def _deployment(endpoints: Endpoints) -> Any:
    """What is deployed on the stack; None if nothing is."""
    if find_spec("infra.local.deploy") is None:
        return None
    return import_module("infra.local.deploy").describe(endpoints)
