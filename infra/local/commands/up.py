"""`itlc up`: start the stores and the emulator, migrate, deploy, and play the demo once."""

import time

import typer

from infra.local.commands.terminal import result, say


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(up)


def up() -> None:
    """Start everything that is not running, migrate, deploy what changed, and play the demo once on new data."""
    from infra.local.commands.demo import play
    from infra.local.deploy import deploy
    from infra.local.migrate import migrate
    from infra.local.stack import Stack, default_state_dir

    began = time.monotonic()
    stack = Stack(default_state_dir())
    endpoints = stack.up(say)
    migrate(endpoints, say)
    deployment = deploy(endpoints, say)
    if not stack.marked("demo"):
        play(endpoints, deployment.api_url)
        stack.mark("demo")
    stack.prepare_next_start()
    say("")
    say(f"up in {time.monotonic() - began:.1f} s; data and logs are in {endpoints.state_dir}")
    result.print(f"API   {deployment.api_url}", highlight=False, soft_wrap=True)
    result.print(f"docs  {deployment.docs_url}", highlight=False, soft_wrap=True)
    say("next: `itlc status`, `itlc logs FUNCTION --follow`, `make down`")
