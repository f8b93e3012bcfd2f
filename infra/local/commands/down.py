"""`itlc down`: end what `itlc up` started."""

from typing import Annotated

import typer

from infra.local.commands.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(down)


def down(clean: Annotated[bool, typer.Option("--clean", help="Delete the data and the logs too.")] = False) -> None:
    """End every process that `itlc up` started, and keep the data."""
    from infra.local.stack import Stack, default_state_dir

    folder = default_state_dir()
    if not (folder / "stack.json").exists() and not clean:
        say(f"nothing to do: nothing was ever started in {folder}")
        return
    stack = Stack(folder)
    if clean:
        stack.clean()
        say(f"stopped, and the data in {folder} deleted")
        return
    ended = stack.down()
    say(f"stopped: {', '.join(ended)}; the data are kept in {folder}" if ended else "nothing was running")
