"""Passwords: the commonest are refused, the others kept as argon2id hashes.

The parameters are OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane. Whoever raises them raises them for
everybody: a hash made with others is made anew at the next sign-in.
"""

import gzip
import secrets
from base64 import b64encode
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from itlc.accounts.model import weakness
from itlc.errors import invalid

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
SALT_BYTES, HASH_BYTES = 16, 32

hasher = PasswordHasher(
    time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, salt_len=SALT_BYTES, hash_len=HASH_BYTES
)


def _nobodys_hash() -> str:
    """A hash that no password has: to check one against it takes as long as against a user's."""
    salt, tag = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (SALT_BYTES, HASH_BYTES))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${tag}"


NOBODYS_HASH = _nobodys_hash()


@cache
def commonest() -> frozenset[str]:
    """The commonest passwords, case folded (see common-passwords.md)."""
    data = (Path(__file__).parent / "common-passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(data).decode().splitlines())


def hash_of_new(password: str, email: str, *, field: str) -> str:
    """The hash to keep of a password that the user with this e-mail address sets.

    Raises Invalid naming `field` when the password is among the commonest or otherwise weak.
    """
    why = "is among the commonest passwords" if password.casefold() in commonest() else weakness(password, email)
    if why is not None:
        raise invalid(field, why)
    return hasher.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether `password` is the one of the hash `kept`. Where nothing is kept, the check takes as long and fails."""
    try:
        return hasher.verify(kept or NOBODYS_HASH, password)
    except (VerificationError, InvalidHashError):
        return False


def renewed(kept: str, password: str) -> str | None:
    """The hash to keep from now on, where `kept` was made with other parameters than today's; else None."""
    return hasher.hash(password) if hasher.check_needs_rehash(kept) else None
