"""`itlc up`: start the stores and the emulator, migrate, deploy, and play the demo once."""

import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer

from infra.local.commands.terminal import result, say


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(up)


def up() -> None:
    """Start everything that is not running, migrate, deploy what changed, and play the demo once on new data."""
    from infra.local.stack import Stack, default_state_dir

    began = time.monotonic()
    stack = Stack(default_state_dir())
    endpoints = stack.up(say)
    if migrate := _module("migrate"):
        migrate.migrate(endpoints, say)
    deployment = None
    if deploy := _module("deploy"):
        deployment = deploy.deploy(endpoints, say)
    if deployment and (demo := _module("demo")) and not stack.marked("demo"):
        demo.play(deployment.api_url, say)
        stack.mark("demo")
    stack.prepare_next_start()
    say(f"up in {time.monotonic() - began:.1f} s; data and logs are in {endpoints.state_dir}")
    if deployment:
        result.print(f"API   {deployment.api_url}", highlight=False, soft_wrap=True)
        result.print(f"docs  {deployment.docs_url}", highlight=False, soft_wrap=True)
    say("next: `itlc status`, `itlc logs FUNCTION --follow`, `make down`")


def _module(name: str) -> Any:
    """The module of a later stage of `up`, where this checkout has it."""
    return import_module(f"infra.local.{name}") if find_spec(f"infra.local.{name}") else None
