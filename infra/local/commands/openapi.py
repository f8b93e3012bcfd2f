"""`itlc openapi`: write the API's contract, or say whether the committed one is out of date."""

from typing import Annotated

import typer

from infra.local.commands.terminal import say
from infra.local.failure import StackError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(openapi)


def openapi(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; end with 1 when it would change.")] = False,
) -> None:
    """Write infra/openapi.json from the operations."""
    from infra.local import openapi as generator
    from infra.local.reach import ROOT

    name = generator.DOCUMENT.relative_to(ROOT)
    if not check:
        say(f"{name} written" if generator.write() else f"{name} is up to date")
        return
    now = generator.DOCUMENT.read_text(encoding="utf-8") if generator.DOCUMENT.is_file() else ""
    if difference := generator.difference(now, generator.text()):
        raise StackError(
            "openapi",
            f"{name} is not what the operations say now:\n{difference}",
            what_to_do="run `itlc openapi`, look at what changed in the contract, and commit it",
        )
    say(f"{name} is up to date")
