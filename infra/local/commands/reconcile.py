"""`itlc reconcile`: whether all stores of the running stack agree."""

import os
from typing import TYPE_CHECKING

import typer

from infra.local.commands.terminal import progress, result, say
from infra.local.failure import StackError

if TYPE_CHECKING:
    from itlc.system.findings import Reconciled

    from infra.local.deploy import Deployment
    from infra.local.stack import Endpoints

SECONDS = 900
NAMED = 5


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(reconcile)


def reconcile() -> None:
    """Check whether all stores agree, and keep what is found.

    Nothing is repaired; only events that wait unsent in an outbox are sent again.
    Ends with 1 when an invariant is broken, with 2 when none is, but some could not be checked.
    """
    from infra.local.deploy import describe
    from infra.local.stack import Stack, default_state_dir

    endpoints = Stack(default_state_dir()).endpoints()
    deployment = describe(endpoints)
    if deployment is None:
        raise StackError("reconcile", "nothing is deployed", what_to_do="deploy with `itlc up`")
    become_a_function(endpoints, deployment)
    with progress.status("reading the seven stores"):
        reconciled = run()
    raise typer.Exit(show(reconciled))


def become_a_function(endpoints: "Endpoints", deployment: "Deployment") -> None:
    """Set this process's environment as the template sets a deployed function's."""
    from itlc.settings import settings

    from infra.local.secret_store import store_secrets

    os.environ |= {
        "AWS_ENDPOINT_URL": endpoints.aws_endpoint,
        "AWS_DEFAULT_REGION": endpoints.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **{f"ITLC_SECRET_{name.upper()}": arn for name, arn in store_secrets(endpoints).items()},
        **{f"ITLC_QUEUE_{name.upper()}": url for name, url in deployment.queues.items()},
        **{f"ITLC_DLQ_{name.upper()}": url for name, url in deployment.dead_letter_queues.items()},
    }
    settings.cache_clear()


def run() -> "Reconciled":
    """Reconcile, and keep what was found as the daily job does; without `itlc_users`, which would keep it, it is only
    returned."""
    import time
    from functools import partial

    from itlc.errors import StoreAway
    from itlc.operation import Deadline
    from itlc.stores import postgres
    from itlc.system import reconciliation, service

    reconciled = reconciliation.reconcile(Deadline(time.monotonic() + SECONDS))
    try:
        kept = postgres.users.write(partial(service.keep, reconciled=reconciled, made_by=None))
        say(f"kept as reconciliation {kept.id}: GET /admin/reconciliations")
    except StoreAway as error:
        say(f"not kept: {error.store} is away")
    return reconciled


def show(reconciled: "Reconciled") -> int:
    """Print what was found as a table, with the rows that break something below it; returns the exit code."""
    from rich.table import Table

    colours = {"holds": "green", "broken": "red", "not checked": "yellow"}
    table = Table("invariant", "state", "looked at", "broken", box=None)
    for found in reconciled.findings:
        state = f"[{colours[found.state]}]{found.state}[/]"
        checked = found.state != "not checked"
        table.add_row(
            found.name, state, f"{found.looked_at:,}" if checked else "", f"{found.broken:,}" if checked else ""
        )
    result.print(table)
    for found in reconciled.findings:
        if found.state == "holds":
            continue
        more = f" and {found.broken - NAMED:,} more" if found.broken > NAMED else ""
        rows = ", ".join(found.rows[:NAMED]) + more
        lines = [f"{found.name}: {found.says}", *([f"  {rows}"] if rows else [])]
        lines += [f"  {found.remark}"] if found.remark else []
        result.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    states = {found.state for found in reconciled.findings}
    return 1 if "broken" in states else 2 if "not checked" in states else 0
