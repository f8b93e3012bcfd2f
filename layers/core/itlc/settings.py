"""Every setting, in one place: read from the environment, once, when first asked for.

Only names and addresses live in the environment. What is secret is in Secrets Manager; the
environment holds the ARN under which a function finds it (see `itlc.secrets`).
"""

import os
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache

QUEUES = ("notifications", "topups", "payments", "projects", "ratings", "emails", "erasures", "audit")
MOST_TOKEN_SECONDS = 840
"""Whoever leaves is erased once more when their last access token has run out, a minute later at most; SQS keeps that
message back for a quarter of an hour and no longer."""


@dataclass(frozen=True)
class Settings:
    """The settings of one function. Each is the environment variable `ITLC_` + its name in capitals."""

    token_rate: Decimal = Decimal(1)
    """Tokens charged for one unit of an order's `amount`."""
    cors_origin: str = "*"
    """The one origin that browsers may call from; `*` is any."""
    access_token_seconds: int = 600
    """How long an access token lives: MOST_TOKEN_SECONDS at most."""
    refresh_token_days: int = 30
    """How long a session lives without being refreshed."""
    reset_minutes: int = 30
    """How long the token of a password reset can be used."""
    reset_page: str = ""
    """Where a front end asks for the new password; the mail links to it with `?token=…`. Empty: the mail has the
    token alone, for whoever calls the API."""
    mail_sender: str = "no-reply@itlc.example"
    """From whom mails come: an address or domain that SES has verified."""
    idempotency_hours: int = 24
    """How long an idempotency key is remembered."""
    body_bytes: int = 256 * 1024
    """The largest request body."""
    body_depth: int = 20
    """The deepest nesting of a request body."""
    caller_writes: int = 60_000
    """How many writes (POST, PUT, PATCH, DELETE) a minute one signed-in caller may make in each store."""
    address_writes: int = 60_000
    """How many writes a minute may come from one address without a token."""
    pair_failures: int = 50
    """From how many failed sign-ins on, to one account from one address, each has to wait before the next."""
    account_failures: int = 200
    """The same for one account from all addresses together. The owner's own addresses are still let in."""
    address_failures: int = 2_000
    """The same for one address with all accounts together."""
    failure_delay_seconds: int = 1
    """The first such wait; each further failure doubles it."""
    longest_delay_seconds: int = 900
    """The longest such wait."""
    failure_memory_minutes: int = 60
    """Failures are forgotten when so much time has passed since the last one. Longer than the longest wait."""
    known_address_days: int = 90
    """How long an address is the owner's after they last signed in from it."""
    account_reset_mails: int = 20
    """How many password resets an hour are mailed to one e-mail address."""
    address_reset_mails: int = 1_000
    """How many password resets an hour are mailed at the request of one address."""
    circuit_seconds: int = 5
    """For how long a worker asks nothing of a store that it could not reach."""
    bid_days: int = 30
    """An open bid expires after so many days."""
    notification_days: int = 90
    """Read notifications are removed after so many days."""
    topup_minutes: int = 60
    """A top-up that is still pending after so many minutes is stuck, and fails."""
    secrets: dict[str, str] = field(default_factory=dict)
    """ARN of each secret, by its name: `users`, `api`, `orders`, `tokens`, `templates`, `mongodb`, `neo4j`,
    `sessions`, `cursors`, `pseudonyms`. Variables `ITLC_SECRET_<NAME>`."""
    queues: dict[str, str] = field(default_factory=dict)
    """URL of each queue, by its name. Variables `ITLC_QUEUE_<NAME>`."""
    dead_letter_queues: dict[str, str] = field(default_factory=dict)
    """URL of each queue's dead-letter queue. Variables `ITLC_DLQ_<NAME>`."""


def _by_prefix(prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix).lower(): value for name, value in os.environ.items() if name.startswith(prefix)}


@cache
def settings() -> Settings:
    """The settings of this process. Raises ValueError naming the variable that cannot be read, or is out of bounds."""
    read: dict[str, object] = {}
    for name, default in vars(Settings).items():
        text = os.environ.get(f"ITLC_{name.upper()}")
        if text is None or not isinstance(default, int | str | Decimal):
            continue
        try:
            read[name] = type(default)(text)
        except (ValueError, ArithmeticError) as error:
            raise ValueError(f"ITLC_{name.upper()}={text!r} cannot be read: {error}") from error
    found = Settings(
        **read,  # type: ignore[arg-type]
        secrets=_by_prefix("ITLC_SECRET_"),
        queues=_by_prefix("ITLC_QUEUE_"),
        dead_letter_queues=_by_prefix("ITLC_DLQ_"),
    )
    if not 0 < found.access_token_seconds <= MOST_TOKEN_SECONDS:
        raise ValueError(
            f"ITLC_ACCESS_TOKEN_SECONDS={found.access_token_seconds}: must be between 1 and {MOST_TOKEN_SECONDS}"
        )
    return found
