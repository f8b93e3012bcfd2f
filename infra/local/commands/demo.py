"""`itlc demo`: play the marketplace's story on the running system."""

from functools import partial

import typer

from infra.local.commands.terminal import say
from infra.local.failure import StackError
from infra.local.stack import Endpoints


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(demo)


def demo() -> None:
    """Play the whole story once more, with people of its own."""
    from infra.local.deploy import describe
    from infra.local.stack import Stack, default_state_dir

    endpoints = Stack(default_state_dir()).endpoints()
    deployment = describe(endpoints)
    if deployment is None:
        raise StackError("deploy", "the functions are not deployed", what_to_do="run `itlc up`, or `itlc deploy`")
    play(endpoints, deployment.api_url)


def play(endpoints: Endpoints, api_url: str) -> None:
    """Play the story on the deployed API. Raises StackError at the first answer that is not as it should be."""
    from infra.local import demo as story
    from infra.local.commands.admin import grant_admin

    try:
        story.play(api_url, say, partial(grant_admin, endpoints))
    except story.DemoError as error:
        raise StackError(
            "demo", str(error), what_to_do="`itlc logs` shows what the function said; `itlc demo` plays it again"
        ) from error
