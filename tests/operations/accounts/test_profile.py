"""Registering, and reading and changing oneself, through the operations on real stores."""

from tests.support.calling import As, nobody
from tests.support.people import PASSWORD, email_of, person, provider
from tests.support.stack import Stores

ADA = {"name": "Ada", "email": "Ada@Example.org", "password": PASSWORD}


def test_whoever_registers_is_a_user_with_no_tokens(stores: Stores) -> None:
    response = nobody.call("register_user", ADA)
    assert response.status == 201
    assert response.headers["Location"] == "users/me"
    assert set(response.json) == {"id", "name", "email", "tokens", "created_at", "updated_at"}
    assert (response["name"], response["email"], response["tokens"]) == ("Ada", "Ada@Example.org", 0)
    (row,) = stores.rows("itlc_users", "SELECT * FROM users")
    assert row["password"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert row["is_admin"] is False


def test_an_address_is_taken_in_whatever_case(stores: Stores) -> None:
    nobody.call("register_user", ADA)
    assert nobody.call("register_user", {**ADA, "email": "ADA@example.ORG"}).status == 409
    assert len(stores.rows("itlc_users", "SELECT * FROM users")) == 1


def test_registering_again_with_the_key_is_the_same_user(stores: Stores) -> None:
    first = nobody.call("register_user", ADA, key="k")
    again = nobody.call("register_user", ADA, key="k")
    assert (again.status, again.text) == (201, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert nobody.call("register_user", {**ADA, "password": PASSWORD + "!"}, key="k").status == 422
    (kept,) = stores.rows("itlc_users", "SELECT * FROM idempotency_keys")
    assert PASSWORD not in str(kept)


def test_a_builder_makes_people_with_real_sessions(stores: Stores) -> None:
    ada, eve = person("Ada"), person("Eve", admin=True)
    assert ada.call("read_me")["email"] == email_of("Ada")
    assert (ada.is_admin, eve.is_admin) == (False, True)
    grace, provider_id = provider("Grace")
    (row,) = stores.rows("itlc_api", "SELECT * FROM providers")
    assert (row["id"], row["user_id"], row["email"]) == (provider_id, grace.user_id, email_of("Grace"))


def test_nobody_is_not_a_user(stores: Stores) -> None:
    assert nobody.call("read_me").status == 401
    assert As(4711).call("read_me").status == 401
