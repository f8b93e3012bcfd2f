"""Access tokens: only ours, unchanged, of the one algorithm, in their time."""

import base64
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from itlc.accounts import tokens
from itlc.accounts.tokens import ALGORITHM, TYPE, read_access_token, write_access_token
from itlc.errors import Unauthenticated

KEY = "a key for these tests, as long as a SHA-512, for one of them signs with HS512"
SESSION = uuid.UUID("7b1f0c1e-4a67-4d5e-9d0a-3f6a5f0b8c11")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key, without Secrets Manager."""
    monkeypatch.setattr(tokens, "secret", lambda name: {"sessions": {"key": KEY}}[name])


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token, changed; None leaves one out."""
    good = jwt.decode(write_access_token(7, SESSION, is_admin=False), KEY, [ALGORITHM], audience=tokens.AUDIENCE)
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(payload: dict[str, Any], *, by: str = KEY, algorithm: str = ALGORITHM, typ: str | None = TYPE) -> str:
    """A token of this payload."""
    return jwt.encode(payload, by, algorithm, headers={"typ": typ})


def unsigned(payload: dict[str, Any], algorithm: str) -> str:
    """A token that nobody signed."""
    parts = [{"alg": algorithm, "typ": TYPE}, payload]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def test_what_is_written_can_be_read() -> None:
    read = read_access_token(write_access_token(7, SESSION, is_admin=True))
    assert (read.user_id, read.session_id, read.is_admin) == (7, str(SESSION), True)
    assert 595 <= read.expires_at - time.time() <= 600
    assert read_access_token(signed(claims())).is_admin is False


@pytest.mark.parametrize(
    "claim",
    [
        {"exp": int(time.time()) - 1},
        {"exp": time.time() + 100.5},
        {"nbf": int(time.time()) + 86_400},
        {"iat": int(time.time()) + 86_400},
        {"iss": "somebody"},
        {"aud": "another-api"},
        {"aud": ["itlc-api", "another-api"]},
        {"sub": "seven"},
        {"sub": 7},
        {"sid": "no-uuid"},
        {"sid": 5},
        {"adm": "true"},
        {"adm": 1},
        *({name: None} for name in tokens.CLAIMS),
    ],
    ids=lambda claim: "-".join(f"{name}-{type(value).__name__}" for name, value in claim.items()),
)
def test_a_token_with_a_wrong_or_missing_claim_is_refused(claim: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        read_access_token(signed(claims(**claim)))


FORGERIES: dict[str, Callable[[], str]] = {
    "another key": lambda: signed(claims(), by=KEY + "!"),
    "another algorithm, the right key": lambda: signed(claims(), algorithm="HS512"),
    "no algorithm": lambda: unsigned(claims(), "none"),
    "no algorithm, spelled otherwise": lambda: unsigned(claims(), "nOnE"),
    "no signature": lambda: unsigned(claims(), ALGORITHM),
    "another type": lambda: signed(claims(), typ="JWT"),
    "no type": lambda: signed(claims(), typ=None),
    "not a token": lambda: "a.b.c",
    "nothing": lambda: "",
    "not ASCII": lambda: "\N{SNOWMAN}.\N{SNOWMAN}.\N{SNOWMAN}",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused(forgery: str) -> None:
    with pytest.raises(Unauthenticated):
        read_access_token(FORGERIES[forgery]())


def test_every_changed_part_breaks_the_signature() -> None:
    token = write_access_token(7, SESSION, is_admin=False)
    head, _, tail = token.split(".")
    admin = base64.urlsafe_b64encode(json.dumps(claims(adm=True)).encode()).decode().rstrip("=")
    with pytest.raises(Unauthenticated):
        read_access_token(f"{head}.{admin}.{tail}")
    for at in range(0, len(token) - 1, 7):  # of the last character, not every bit counts
        with pytest.raises(Unauthenticated):
            read_access_token(token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :])


def test_random_tokens_have_256_bits_and_are_stored_hashed() -> None:
    made = {tokens.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.urlsafe_b64decode(token + "=")) for token in made} == {32}
    assert len(tokens.hash_of("x")) == 64
