"""The command `itlc`.

Each command is a module of `infra.local.commands` with a function `register(app)`; it is added by its line below.
Command modules import at their top only what is quick to import, so that `itlc --help` answers at once.
"""

import sys
from importlib import import_module

import typer

from infra.local.failure import StackError

COMMANDS = (
    "up",
    "down",
    "status",
    "logs",
    "migrate",
    "deploy",
    "demo",
    "openapi",
    "queues",
    "reconcile",
    "admin",
)

app = typer.Typer(
    name="itlc",
    help="Run ITLC on this machine: embedded stores, an AWS emulator, and the functions deployed into it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    import_module(f"infra.local.commands.{command}").register(app)


def main() -> None:
    """The program. Ends with 1 and the StackError's text when a part of the stack fails."""
    try:
        app()
    except StackError as error:
        from rich.console import Console

        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
