"""Signing in, refreshing, signing out and changing one's password, through the operations on real stores."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from itlc.access import Caller
from itlc.accounts import credentials, passwords
from itlc.accounts.schemas import ChangePassword
from itlc.errors import Invalid, Unauthenticated
from itlc.preconditions import IfMatch
from itlc.stores import postgres

from tests.support.calling import As, Context, nobody, operation
from tests.support.people import PASSWORD, bearer, email_of, person, signed_in
from tests.support.racing import at_once
from tests.support.stack import Stores

NEW = "a new one, quite long"
ADA = {"email": email_of("Ada"), "password": PASSWORD}


def refresh(token: str) -> "tuple[int, dict[str, str]]":
    """The status and the body of a refresh."""
    response = nobody.call("refresh_session", {"refresh_token": token})
    return response.status, response.json


def end_reasons(stores: Stores) -> list[str | None]:
    """Why each session ended, in the order in which they began."""
    return [
        row["end_reason"] for row in stores.rows("itlc_users", "SELECT end_reason FROM sessions ORDER BY created_at")
    ]


def test_signing_in_begins_a_session(stores: Stores) -> None:
    ada = person("Ada")
    response = nobody.call("sign_in", {**ADA, "email": "ADA@EXAMPLE.ORG"})
    assert response.status == 201
    assert response.json == {
        "access_token": response["access_token"],
        "refresh_token": response["refresh_token"],
        "token_type": "Bearer",
        "expires_in": 600,
    }
    assert bearer(response["access_token"]).user_id == ada.user_id
    kept = stores.rows("itlc_users", "SELECT hash FROM refresh_tokens")
    assert response["refresh_token"] not in str(kept)
    assert len(stores.rows("itlc_users", "SELECT * FROM idempotency_keys")) == 0


def test_a_wrong_address_and_a_wrong_password_look_alike_and_cost_the_same(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    person("Ada")
    checked: list[str] = []

    class Counting:
        """The real hasher, noting what it checks against."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def verify(self, kept: str, password: str) -> bool:
            checked.append(kept)
            return real.verify(kept, password)

    real = passwords.hasher
    monkeypatch.setattr(passwords, "hasher", Counting())
    wrong = nobody.call("sign_in", {**ADA, "password": "something else entirely"})
    unknown = nobody.call("sign_in", {**ADA, "email": "nobody@example.org"})
    assert wrong.status == unknown.status == 401
    assert {**wrong.json, "instance": 0} == {**unknown.json, "instance": 0}
    assert set(wrong.headers) == set(unknown.headers)
    assert len(checked) == 2
    assert {kept.rpartition("$")[0].rpartition("$")[0] for kept in checked} == {"$argon2id$v=19$m=19456,t=2,p=1"}


def test_a_hash_with_older_parameters_is_renewed_at_sign_in(stores: Stores) -> None:
    from argon2 import PasswordHasher

    ada = person("Ada")
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    stores.rows("itlc_users", "UPDATE users SET password = :old", old=old)
    before = ada.call("read_me")["updated_at"]
    signed_in("Ada")
    (row,) = stores.rows("itlc_users", "SELECT password FROM users")
    assert row["password"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    signed_in("Ada")
    assert stores.rows("itlc_users", "SELECT password FROM users") == [row]
    assert ada.call("read_me")["updated_at"] == before


def test_a_password_that_changes_while_it_is_checked_begins_no_session(stores: Stores) -> None:
    from itlc.accounts import credentials, sessions
    from itlc.accounts.schemas import SignIn
    from itlc.stores import postgres

    ada = person("Ada")
    proven = credentials.prove(SignIn(**ADA), "somewhere")
    assert ada.call("change_password", {"current_password": PASSWORD, "new_password": NEW}).status == 204
    with pytest.raises(Unauthenticated):
        postgres.users.write(lambda db: sessions.begin(db, proven))


def test_a_refresh_token_is_exchanged_for_the_next_pair_of_the_same_session(stores: Stores) -> None:
    person("Ada")
    first = nobody.call("sign_in", ADA).json
    status, second = refresh(first["refresh_token"])
    assert status == 201
    assert set(second) == set(first)
    assert second["refresh_token"] != first["refresh_token"]
    assert bearer(second["access_token"]).session_id == bearer(first["access_token"]).session_id
    assert refresh(second["refresh_token"])[0] == 201


def test_the_reuse_of_a_refresh_token_ends_the_session(stores: Stores) -> None:
    person("Ada")
    first = nobody.call("sign_in", ADA).json
    _, second = refresh(first["refresh_token"])
    assert refresh(first["refresh_token"])[0] == 401
    assert refresh(second["refresh_token"])[0] == 401, "the successor is revoked, too"
    assert end_reasons(stores) == [None, "token_reused"]
    holder = bearer(second["access_token"])
    assert holder.call("read_me").status == 200, "an access token lives out its ten minutes"
    assert holder.call("change_me", {"email": "thief@example.org"}).status == 401, "but changes no credentials"
    assert holder.call("sign_out").status == 204
    assert end_reasons(stores) == [None, "token_reused"], "a session has the reason for which it ended first"


def test_of_twenty_refreshes_at_once_exactly_one_wins(stores: Stores) -> None:
    person("Ada")
    token = nobody.call("sign_in", ADA)["refresh_token"]
    answers = at_once(nobody.call, [("refresh_session", {"refresh_token": token})] * 20)
    assert Counter(answer.status for answer in answers) == {201: 1, 401: 19}
    spent = stores.rows("itlc_users", "SELECT spent_at IS NOT NULL AS spent FROM refresh_tokens")
    assert Counter(row["spent"] for row in spent) == {True: 1, False: 2}, "person() has a session, too"
    assert end_reasons(stores) == [None, "token_reused"], "nineteen reused the token"
    (winner,) = (answer for answer in answers if answer.status == 201)
    assert refresh(winner["refresh_token"])[0] == 401


@pytest.mark.parametrize("token", ["x", "x" * 43, "\N{SNOWMAN}"])
def test_an_unknown_refresh_token_is_refused(stores: Stores, token: str) -> None:
    assert refresh(token)[0] == 401


def test_a_session_ends_when_it_is_not_refreshed_in_time(stores: Stores) -> None:
    ada = person("Ada")
    token = nobody.call("sign_in", ADA)["refresh_token"]
    stores.rows("itlc_users", "UPDATE sessions SET expires_at = now() - interval '1 second'")
    assert refresh(token)[0] == 401
    assert ada.call("change_me", {"name": "A"}).status == 401


def test_whoever_signs_out_gets_no_new_tokens(stores: Stores) -> None:
    person("Ada")
    pair = nobody.call("sign_in", ADA).json
    ada = bearer(pair["access_token"])
    response = ada.call("sign_out")
    assert (response.status, response.text) == (204, "")
    assert refresh(pair["refresh_token"])[0] == 401
    assert ada.call("change_password", {"current_password": PASSWORD, "new_password": NEW}).status == 401
    assert end_reasons(stores) == [None, "signed_out"]
    assert ada.call("sign_out").status == 204
    assert nobody.call("sign_out").status == 401


def test_a_new_password_ends_every_other_session(stores: Stores) -> None:
    ada = person("Ada")
    bob = person("Bob")
    other = nobody.call("sign_in", ADA).json
    change = {"current_password": PASSWORD, "new_password": NEW}
    assert ada.call("change_password", change).status == 204
    assert refresh(other["refresh_token"])[0] == 401
    assert bearer(other["access_token"]).call("change_me", {"name": "A"}).status == 401
    assert ada.call("change_me", {"name": "Ada L."}).status == 200
    assert bob.call("change_me", {"name": "Robert"}).status == 200
    assert nobody.call("sign_in", ADA).status == 401
    signed_in("Ada", NEW)


def test_a_password_is_changed_only_by_who_knows_it(stores: Stores) -> None:
    ada = person("Ada")
    response = ada.call("change_password", {"current_password": "not this one", "new_password": NEW})
    assert (response.status, response["errors"][0]["field"]) == (422, "current_password")
    weak = ada.call("change_password", {"current_password": PASSWORD, "new_password": "1qaz2wsx3edc"})
    assert (weak.status, weak["errors"][0]["field"]) == (422, "new_password")
    signed_in("Ada", PASSWORD)
    assert As(ada.user_id).call("change_password", {"current_password": PASSWORD, "new_password": NEW}).status == 401


def test_a_password_is_changed_for_the_version_of_the_user_that_was_read(stores: Stores) -> None:
    ada = person("Ada")
    change = {"current_password": PASSWORD, "new_password": NEW}
    read = {"If-Match": ada.call("read_me").headers["ETag"]}
    assert ada.call("change_me", {"name": "Ada L."}).status == 200
    assert ada.call("change_password", change, headers=read).status == 412
    signed_in("Ada", PASSWORD)
    read = {"If-Match": ada.call("read_me").headers["ETag"]}
    assert ada.call("change_password", change, headers=read).status == 204
    assert ada.call("change_me", {"name": "Ada"}, headers=read).status == 412, "a new password is a new version"


def _proven_change(ada: As) -> Callable[[], object]:
    """A change of the password that is proven (which takes a while, on purpose), and is made when it is called."""
    caller = Caller(ada.user_id, ada.session_id)
    change = credentials.prove_change(ChangePassword(current_password=PASSWORD, new_password=NEW), caller)
    made = partial(credentials.change_password, change=change, caller=caller, if_match=IfMatch(None))
    return lambda: postgres.users.write(made)


def test_who_is_signed_out_while_the_password_is_proven_changes_nothing(stores: Stores) -> None:
    ada = person("Ada")
    change = _proven_change(ada)
    assert ada.call("sign_out").status == 204
    with pytest.raises(Unauthenticated):
        change()
    signed_in("Ada", PASSWORD)


def test_of_two_who_prove_a_password_and_change_it_one_does(stores: Stores) -> None:
    ada, another = person("Ada"), "another one, quite long"
    change = _proven_change(ada)
    assert ada.call("change_password", {"current_password": PASSWORD, "new_password": another}).status == 204
    with pytest.raises(Invalid):
        change()
    signed_in("Ada", another)


def test_a_session_is_of_one_user(stores: Stores) -> None:
    ada, bob = person("Ada"), person("Bob")
    assert As(bob.user_id, session_id=ada.session_id).call("change_me", {"name": "Eve"}).status == 401


def test_the_authorizer_allows_the_whole_stage_and_says_who_calls(stores: Stores) -> None:
    ada = person("Ada")
    token = nobody.call("sign_in", ADA)["access_token"]
    arn = "arn:aws:execute-api:eu-central-1:123456789012:abc/prod"
    event = {"methodArn": f"{arn}/DELETE/templates/7", "headers": {"authorization": f"bearer {token}"}}
    answer = operation("authorize")(event, Context())
    (statement,) = answer["policyDocument"]["Statement"]
    assert (statement["Effect"], statement["Resource"]) == ("Allow", f"{arn}/*")
    context = answer["context"]
    assert (context["user_id"], context["is_admin"]) == (str(ada.user_id), "false")
    assert all(isinstance(value, str) for value in context.values())


@pytest.mark.parametrize("headers", [None, {}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer"}])
def test_the_authorizer_lets_nobody_else_in(stores: Stores, headers: dict[str, str] | None) -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        operation("authorize")({"methodArn": "arn:aws:x:y:z:api/v1/GET/", "headers": headers}, Context())
