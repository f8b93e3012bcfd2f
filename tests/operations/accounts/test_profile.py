"""Registering, and reading and changing oneself, through the operations on real stores."""

from collections import Counter

import pytest
from itlc.idempotency import fingerprint

from tests.support.calling import As, nobody
from tests.support.people import PASSWORD, email_of, person, provider
from tests.support.racing import at_once, workers
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
    assert kept["fingerprint"] != fingerprint("/users", ADA), "a fast hash would let the password be guessed"


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


def test_of_many_who_register_one_address_at_once_one_gets_it(stores: Stores) -> None:
    answers = at_once(nobody.call, [("register_user", ADA)] * workers())
    assert Counter(answer.status for answer in answers) == {201: 1, 409: workers() - 1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"email": "ada"}, "email"),
        ({"email": None}, "email"),
        ({"password": "elevenchars"}, "password"),
        ({"password": "x" * 129 + "y"}, "password"),
        ({"password": "z" * 12}, "password"),
        ({"password": "1qaz2wsx3edc"}, "password"),
        ({"password": 123456789012}, "password"),
        ({"email": "ada.lovelace@example.org", "password": "Ada.LOVELACE"}, "password"),
        ({"tokens": 100}, "tokens"),
        ({"is_admin": True}, "is_admin"),
    ],
)
def test_bad_registrations_are_refused_by_field(stores: Stores, change: dict[str, object], field: str) -> None:
    response = nobody.call("register_user", {**ADA, **change})
    assert (response.status, [error["field"] for error in response["errors"]]) == (422, [field])
    assert stores.rows("itlc_users", "SELECT * FROM users") == []


def test_half_a_surrogate_pair_is_no_password(stores: Stores) -> None:
    raw = '{"name": "Ada", "email": "ada@example.org", "password": "twelve chars \\ud800"}'
    assert nobody.call("register_user", raw=raw).status == 422


@pytest.mark.parametrize(
    "password",
    [
        " " * 11 + "x",
        "  leading and trailing  ",
        "x" * 127 + "y",
        "tab\tand\0nul, both",
        "\N{SNOWMAN}\N{PILE OF POO}" * 6,
    ],
)
def test_any_other_text_is_a_password_to_the_letter(stores: Stores, password: str) -> None:
    assert nobody.call("register_user", {**ADA, "password": password}).status == 201
    credentials = {"email": ADA["email"], "password": password}
    assert nobody.call("sign_in", credentials).status == 201
    assert nobody.call("sign_in", {**credentials, "password": password[:-1]}).status == 401


def test_one_changes_ones_name_and_address(stores: Stores) -> None:
    ada = person("Ada")
    before = ada.call("read_me")
    changed = ada.call("change_me", {"name": "Ada L.", "email": "al@example.org"})
    assert (changed.status, changed["name"], changed["email"]) == (200, "Ada L.", "al@example.org")
    assert changed["updated_at"] > before["updated_at"]
    assert ada.call("read_me").json == changed.json
    assert nobody.call("sign_in", {"email": "AL@example.org", "password": PASSWORD}).status == 201
    assert ada.call("change_me", {}).json == changed.json
    stale = ada.call("change_me", {"name": "A"}, headers={"If-Match": before.headers["ETag"]})
    assert stale.status == 412
    same = ada.call("change_me", {"email": "Al@Example.org"}, headers={"If-Match": changed.headers["ETag"]})
    assert (same.status, same["email"]) == (200, "Al@Example.org")


def test_a_changed_balance_does_not_outdate_what_was_read(stores: Stores) -> None:
    ada = person("Ada")
    tag = ada.call("read_me").headers["ETag"]
    stores.rows("itlc_users", "UPDATE users SET tokens = 5")
    assert ada.call("change_me", {"name": "A"}, headers={"If-Match": tag}).status == 200


def test_anothers_address_is_not_to_be_had(stores: Stores) -> None:
    ada = person("Ada")
    person("Bob")
    assert ada.call("change_me", {"email": "BOB@example.org"}).status == 409
    assert ada.call("read_me")["email"] == email_of("Ada")
    for body in ({"tokens": 5}, {"email": "no"}, {"name": None}, {"is_admin": True}):
        assert ada.call("change_me", body).status == 422


def test_other_domains_ask_who_is_a_user(stores: Stores) -> None:
    from itlc.accounts import service

    ada, bob = person("Ada"), person("Bob")
    stores.rows("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=bob.user_id)
    asked = [email_of("Ada").upper(), email_of("Ada"), email_of("Bob"), "nobody@example.org"]
    assert service.user_ids_by_email(asked) == {email_of("Ada"): ada.user_id}
    assert service.user_ids_by_email([]) == {}
    assert ada.user_id is not None
    assert bob.user_id is not None
    assert service.email_of(ada.user_id) == email_of("Ada")
    assert [service.user_exists(who) for who in (ada.user_id, bob.user_id, 99)] == [True, False, False]
    assert [service.was_user(who) for who in (ada.user_id, bob.user_id, 99)] == [True, True, False]
    assert nobody.call("sign_in", {"email": email_of("Bob"), "password": PASSWORD}).status == 401
    assert bob.call("read_me").status == 401
