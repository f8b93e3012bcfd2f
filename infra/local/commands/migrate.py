"""`itlc migrate`: bring the running stores to the newest schema."""

import typer

from infra.local.commands.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(migrate)


def migrate() -> None:
    """Apply the migrations that the running stores have not had yet."""
    from infra.local import migrate as local
    from infra.local.stack import Stack, default_state_dir

    local.migrate(Stack(default_state_dir()).endpoints(), say)
