"""What goes into and comes out of the accounts' operations."""

from typing import Annotated, Any, ClassVar, Literal

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
    str,
    Field(
        min_length=1,
        max_length=LONGEST_PASSWORD,
        repr=False,
        json_schema_extra={"format": "password"},
        description="The present password.",
    ),
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
    name: str = Field(description="One line.")
    email: str = Field(description="As the user wrote it.", json_schema_extra={"format": "email"})
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

    refresh_token: str = Field(min_length=1, max_length=256, repr=False, description="As it was handed out; good once.")


class TokenPair(View):
    """A session's two tokens. Each refresh token can be spent once."""

    access_token: str = Field(repr=False, description="A JWT, for the header `Authorization: Bearer …`.")
    refresh_token: str = Field(repr=False, description="For the session's next pair of tokens; good once.")
    token_type: Literal["Bearer"] = Field("Bearer", description="How the access token is sent.")
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


Records = list[dict[str, Any]]


class InUsers(View):
    """What `itlc_users` holds."""

    user: dict[str, Any] = Field(description="The account, without its password.")
    sessions: Records = Field(description="Since when and until when, and why they ended.")
    refresh_tokens: Records = Field(description="When they were made and spent.")
    password_resets: Records = Field(description="When they were asked for and used.")
    known_addresses: Records = Field(description="From where the user has signed in, under pseudonyms.")
    transfers: Records = Field(description="The ledger.")
    audit: Records = Field(description="What the user did, and what was done to their account; so in each database.")


class InApi(View):
    """What `itlc_api` holds."""

    provider: dict[str, Any] | None = Field(description="The user's provider profile.")
    services: Records = Field(description="What it offers or has withdrawn.")
    audit: Records = Field(description="As in `itlc_users`.")


class InOrders(View):
    """What `itlc_orders` holds, of orders as either party."""

    bids: Records = Field(description="The user's own.")
    bids_received: Records = Field(description="On services of the user's.")
    orders: Records = Field(description="Of the user as customer and as provider.")
    checkins: Records = Field(description="On those orders.")
    project_progress: Records = Field(description="How the user's projects stand by their orders.")
    payments: Records = Field(description="One for each order that was paid.")
    refunds: Records = Field(description="Of those payments.")
    notifications: Records = Field(description="What the user was told.")
    audit: Records = Field(description="As in `itlc_users`.")


class InTokens(View):
    """What `itlc_tokens` holds."""

    topups: Records = Field(description="Made by the user or for them.")
    audit: Records = Field(description="As in `itlc_users`.")


class InTemplates(View):
    """What `itlc_templates` holds: templates are nobody's, only an administrator's acts are on record."""

    audit: Records = Field(description="As in `itlc_users`.")


class InDocuments(View):
    """What MongoDB holds."""

    projects: Records = Field(description="What the user plans.")
    blogs: Records = Field(description="What the user published.")
    faqs: Records = Field(description="Questions that the user answers.")
    ratings: Records = Field(description="What the user gave.")
    reviews: Records = Field(description="What the user wrote.")


class InGraph(View):
    """What Neo4j holds."""

    steps: Records = Field(description="The steps of the user's orders.")
    notified_by: Records = Field(description="Steps of others' orders that notify the user's address.")


class ExportView(View):
    """Everything that the seven stores hold about a user, each record with the fields that it is stored with."""

    exported_at: Moment
    itlc_users: InUsers
    itlc_api: InApi
    itlc_orders: InOrders
    itlc_tokens: InTokens
    itlc_templates: InTemplates
    itlc_pbfr: InDocuments
    neo4j: InGraph
