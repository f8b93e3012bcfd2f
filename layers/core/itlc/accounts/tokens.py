"""The two tokens of a session: a signed access token, checked without a store, and a random refresh token.

An access token is a JWT (HS256, and no other algorithm is accepted) of type `at+jwt` (RFC 9068). It names the user,
the session, and whether the user is an administrator. Of a refresh token the database has only the SHA-256: it is
256 random bits, so a slow hash would add nothing.
"""

import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass

import jwt

from itlc.errors import Unauthenticated
from itlc.secrets import secret
from itlc.settings import settings

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER, AUDIENCE = "itlc", "itlc-api"
CLAIMS = ["iss", "aud", "exp", "nbf", "iat", "jti", "sub", "sid", "adm"]
CLOCKS_APART = 5
"""By how many seconds the clocks of two workers may differ."""


@dataclass(frozen=True)
class Identity:
    """What an access token says. `expires_at` is in Unix seconds."""

    user_id: int
    session_id: str
    is_admin: bool
    expires_at: int


def write_access_token(user_id: int, session_id: uuid.UUID, *, is_admin: bool) -> str:
    """An access token that begins now and lives for `ITLC_ACCESS_TOKEN_SECONDS`."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + settings().access_token_seconds,
        "jti": secrets.token_urlsafe(12),
        "sub": str(user_id),
        "sid": str(session_id),
        "adm": is_admin,
    }
    return jwt.encode(claims, secret("sessions")["key"], ALGORITHM, headers={"typ": TYPE})


def read_access_token(token: str) -> Identity:
    """What an access token says. Raises Unauthenticated unless it is one of ours, unchanged and in its time."""
    try:
        read = jwt.decode_complete(
            token,
            secret("sessions")["key"],
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=CLOCKS_APART,
            options={"require": CLAIMS, "strict_aud": True},
        )
        claims = read["payload"]
        identity = Identity(int(claims["sub"]), str(uuid.UUID(claims["sid"])), claims["adm"], claims["exp"])
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated("This access token is not valid.") from error
    # The leeway is for tokens of a clock that is ahead of ours; it does not lengthen a token's life.
    in_time = type(identity.expires_at) is int and time.time() < identity.expires_at
    if read["header"].get("typ") != TYPE or type(identity.is_admin) is not bool or not in_time:
        raise Unauthenticated("This access token is not valid.")
    return identity


def new_secret() -> str:
    """A refresh token or password reset token: 256 random bits, as 43 characters that a URL can hold."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What is stored of a refresh or reset token: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()
