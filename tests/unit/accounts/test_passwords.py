"""Which passwords may be set, and how they are kept."""

import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type
from itlc.accounts import passwords
from itlc.accounts.model import weakness
from itlc.errors import Invalid

ADDRESS = "Ada.Lovelace@example.org"
GOOD = "correct horse battery staple"


def test_the_list_holds_the_commonest() -> None:
    assert len(passwords.commonest()) > 40_000
    assert {"123456", "password", "qwertyuiop", "password1234", "q1w2e3r4t5y6"} <= passwords.commonest()
    assert all(entry == entry.casefold() for entry in passwords.commonest())


@pytest.mark.parametrize("password", ["password1234", "Password1234", "1QAZ2wsx3edc", "administrator", "justinbieber"])
def test_the_commonest_are_refused_in_any_case(password: str) -> None:
    with pytest.raises(Invalid, match="among the commonest") as refused:
        passwords.hash_of_new(password, ADDRESS, field="new_password")
    assert [error.field for error in refused.value.errors] == ["new_password"]


@pytest.mark.parametrize("password", ["ada.lovelace", "ADA.LOVELACE", "a" * 12, " " * 20, "\N{SNOWMAN}" * 128])
def test_the_weak_are_refused(password: str) -> None:
    assert weakness(password, ADDRESS) is not None


@pytest.mark.parametrize("password", [GOOD, ADDRESS, "ada.lovelace1", "aaaaaaaaaaab", "aAaAaAaAaAaA", "\0" * 11 + "\1"])
def test_any_other_text_is_fine(password: str) -> None:
    assert weakness(password, ADDRESS) is None
    assert passwords.matches(passwords.hash_of_new(password, ADDRESS, field="password"), password)


def test_a_hash_matches_its_password_only() -> None:
    kept = passwords.hasher.hash(GOOD)
    assert passwords.matches(kept, GOOD)
    assert not passwords.matches(kept, GOOD.upper())
    assert not passwords.matches(kept, GOOD + " ")
    assert not passwords.matches("erased", GOOD)
    assert not passwords.matches(None, GOOD)


def test_nobodys_hash_costs_what_a_users_does() -> None:
    users = passwords.hasher.hash(GOOD)
    assert passwords.NOBODYS_HASH.split("$")[:4] == users.split("$")[:4] == ["", "argon2id", "v=19", "m=19456,t=2,p=1"]
    assert [len(part) for part in passwords.NOBODYS_HASH.split("$")] == [len(part) for part in users.split("$")]
    assert not passwords.hasher.check_needs_rehash(passwords.NOBODYS_HASH)


def test_a_hash_of_other_parameters_is_renewed() -> None:
    assert passwords.renewed(passwords.hasher.hash(GOOD), GOOD) is None
    for older in (PasswordHasher(1, 8 * 1024, 1), PasswordHasher(2, 19 * 1024, 1, type=Type.I)):
        renewed = passwords.renewed(older.hash(GOOD), GOOD)
        assert renewed is not None
        assert passwords.matches(renewed, GOOD)
