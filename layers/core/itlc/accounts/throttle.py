"""Guessing passwords is slowed down, and the owner is not locked out by it.

Failures are counted for the pair of account and address, for the account, and for the address, known or not, all under
pseudonyms. Each has a number of failures that nobody is kept waiting for; from there on every further one doubles the
wait before the next attempt (429). An attempt counts as a failure before its password is looked at, so that a thousand
at the same moment are counted as well; the right password takes back what its pair has counted.

Whoever has to wait is answered without hashing anything, except at an address from which somebody has signed in
before: there every attempt is hashed, and the owner, at an address that is theirs, is let in by the right password.
That holds for unknown e-mail addresses too, so that neither answer nor time tells which is known. Only the limit of the
address itself knows no exception.
"""

import math
from dataclasses import dataclass

from sqlalchemy import Connection

from itlc.accounts import failures
from itlc.errors import TooMany
from itlc.pseudonyms import of_account
from itlc.settings import settings
from itlc.stores import postgres


@dataclass(frozen=True)
class Attempt:
    """Somebody tries to sign in: the pseudonyms of the account, of the address, and of both together."""

    account: str
    address: str
    pair: str

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each of the three."""
        return {self.pair: "pair", self.account: "account", self.address: "address"}


def attempt(email: str, source: str) -> Attempt:
    """The attempt to sign in as `email` from `source`, the pseudonym of an address."""
    return Attempt(of_account(email), source, of_account(email, source))


def begin(trying: Attempt) -> TooMany | None:
    """Count the attempt as a failure, for the time being. Returns the refusal where it has to wait; then nothing was
    counted. Opens `itlc_users` itself. Raises StoreAway."""
    try:
        postgres.users.write(lambda db: _count(db, trying.kinds))
    except TooMany as refusal:
        return refusal
    return None


def may_look(trying: Attempt) -> bool:
    """Whether the password is looked at although the attempt has to wait; if so, that counts for the address. Opens
    `itlc_users` itself. Raises StoreAway."""

    def look(db: Connection) -> bool:
        return failures.is_anybodys_address(db, trying.address) and bool(
            failures.count(db, {trying.address: "address"}, _most())
        )

    return postgres.users.write(look)


def is_let_in(db: Connection, user_id: int | None, trying: Attempt) -> bool:
    """Whether this is the user's own address, from which the right password is enough at any time."""
    return failures.knows_address(db, user_id or 0, trying.address)


def succeed(db: Connection, user_id: int, trying: Attempt) -> None:
    """The password was right: what this pair has failed before is forgotten, and the address is the user's."""
    failures.forgive(db, trying.pair, (trying.account, trying.address))
    failures.know_address(db, user_id, trying.address)


def _most() -> dict[str, int]:
    now = settings()
    return {"pair": now.pair_failures, "account": now.account_failures, "address": now.address_failures}


def _count(db: Connection, kinds: dict[str, str]) -> None:
    """Count a failure of all three, or raise TooMany, which rolls back."""
    if len(failures.count(db, kinds, _most())) < len(kinds):
        wait = max(1, math.ceil(failures.seconds_blocked(db, kinds)))
        raise TooMany("There were too many failed attempts to sign in: wait a moment, then try again.", wait)
