"""`itlc admin`: who is an administrator. There is no route for this: it takes the owner's access to the database."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from infra.local.commands.terminal import say
from infra.local.failure import StackError
from infra.local.stack import Endpoints, Stack, default_state_dir

Email = Annotated[str, typer.Argument(help="The user's e-mail address.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    admin = typer.Typer(help="Make users administrators, or end that.", no_args_is_help=True)
    admin.command()(grant)
    admin.command()(revoke)
    app.add_typer(admin, name="admin")


def grant(email: Email) -> None:
    """Make a user an administrator, from their next sign-in or refresh on. Ends with 1 when there is no such user."""
    if grant_admin(Stack(default_state_dir()).endpoints(), email):
        say(f"{email} is an administrator now: sign in again to act as one")
    else:
        say(f"nothing to do: {email} is an administrator already")


def revoke(email: Email) -> None:
    """Take an administrator's powers away and end their sessions. Ends with 1 when there is no such user."""
    if revoke_admin(Stack(default_state_dir()).endpoints(), email):
        say(f"{email} is no administrator any more, and was signed out everywhere")
    else:
        say(f"nothing to do: {email} is no administrator")


def grant_admin(endpoints: Endpoints, email: str) -> bool:
    """Make the user with this e-mail address an administrator of the running stack; False when they were one.

    Raises StackError when there is no such user.
    """
    from itlc.accounts import service

    return _as_owner(endpoints, service.grant_admin, email)


def revoke_admin(endpoints: Endpoints, email: str) -> bool:
    """Take an administrator's powers away and end their sessions; False when they had none.

    Raises StackError when there is no such user.
    """
    from itlc.accounts import service

    return _as_owner(endpoints, service.revoke_admin, email)


def _as_owner(endpoints: Endpoints, work: Callable[[Any, str], bool], email: str) -> bool:
    from itlc.errors import NotFound
    from itlc.stores import postgres
    from sqlalchemy import create_engine, make_url

    owner = make_url(endpoints.postgres["itlc_users"].owner_url).set(drivername="postgresql+pg8000")
    engine = create_engine(owner)
    try:
        with engine.begin() as connection:
            connection.info["database"] = postgres.users
            return work(connection, email)
    except NotFound as error:
        raise StackError(
            "accounts", error.detail, what_to_do="register first with POST /users, or check the spelling"
        ) from error
    finally:
        engine.dispose()
