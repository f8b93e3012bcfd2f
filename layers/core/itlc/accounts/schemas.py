"""What goes into and comes out of the accounts' operations."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from itlc.accounts.model import LONGEST_PASSWORD, SHORTEST_PASSWORD
from itlc.fields import Email, Input, Moment, Name, View

NewPassword = Annotated[
    str,
    Field(
        min_length=SHORTEST_PASSWORD,
        max_length=LONGEST_PASSWORD,
        repr=False,
        json_schema_extra={"format": "password"},
        description="Any text of 12 to 128 characters, but none of the commonest passwords, not the name in the "
        "e-mail address, and not one character over and over.",
    ),
]
"""A password to be set: taken as it is, without stripping or folding."""
PresentPassword = Annotated[
    str, Field(min_length=1, max_length=LONGEST_PASSWORD, repr=False, json_schema_extra={"format": "password"})
]
"""A password to be checked."""


class Register(Input):
    """A new user."""

    name: Name
    email: Email
    password: NewPassword


class UserView(View):
    """A user, as they see themselves."""

    volatile: ClassVar[frozenset[str]] = frozenset({"tokens"})

    id: int
    name: str
    email: str
    tokens: int = Field(description="The balance, in whole tokens.")
    created_at: Moment
    updated_at: Moment


class ChangeMe(Input):
    """Any of a user's writable fields."""

    name: Name = Field(default="")
    email: Email = Field(default="")


class SignIn(Input):
    """Who wants a session."""

    email: Email
    password: PresentPassword


class Refresh(Input):
    """The refresh token to spend."""

    refresh_token: str = Field(min_length=1, max_length=256, repr=False)


class TokenPair(View):
    """A session's two tokens. Each refresh token can be spent once."""

    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a kind
    expires_in: int = Field(description="How long the access token lives, in seconds.")


class ChangePassword(Input):
    """A new password, and proof of the present one."""

    current_password: PresentPassword
    new_password: NewPassword


class RequestPasswordReset(Input):
    """Where to send the token that allows to set a new password."""

    email: Email


class ResetPassword(Input):
    """The password to set."""

    new_password: NewPassword
