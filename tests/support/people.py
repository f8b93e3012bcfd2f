"""People who registered and signed in through the operations, with a real session."""

import time

from itlc.accounts.service import grant_admin
from itlc.stores import postgres

from tests.support.calling import As, Context, nobody, operation

PASSWORD = "correct horse battery staple"


def email_of(name: str) -> str:
    """The e-mail address under which `person(name)` registers."""
    return f"{name.lower().replace(' ', '.')}@example.org"


def person(name: str = "Ada", admin: bool = False) -> As:
    """A new user with this name, signed in; an administrator if asked. Their password is `PASSWORD`.

    A name can be used once in a test: the e-mail address is made of it (see `email_of`).
    """
    registered = nobody.call("register_user", {"name": name, "email": email_of(name), "password": PASSWORD})
    assert registered.status == 201, registered.text
    if admin:
        assert postgres.users.write(lambda db: grant_admin(db, email_of(name)))
    return signed_in(name)


def signed_in(name: str, password: str = PASSWORD) -> As:
    """Another session of somebody who has registered."""
    answer = nobody.call("sign_in", {"email": email_of(name), "password": password})
    assert answer.status == 201, answer.text
    return bearer(answer["access_token"])


def bearer(access_token: str) -> As:
    """Whoever the API's authorizer takes the bearer of this token for."""
    event = {
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:us-east-1:000000000000:api/v1/GET/users/me",
        "headers": {"Authorization": f"Bearer {access_token}"},
    }
    known = operation("authorize")(event, Context())["context"]
    assert int(known["expires_at"]) > time.time()
    return As(int(known["user_id"]), known["is_admin"] == "true", known["session_id"])


def provider(name: str = "Grace") -> tuple[As, int]:
    """A new user who has a provider profile, and the profile's id."""
    somebody = person(name)
    profile = somebody.call("become_provider", {"name": name})
    assert profile.status == 201, profile.text
    return somebody, int(profile["id"])
