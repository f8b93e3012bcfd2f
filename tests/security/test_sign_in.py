"""Guessing passwords is slowed down for whoever guesses; the owner is not locked out, nobody learns who is known."""

from collections import Counter
from collections.abc import Iterator

import pytest
from itlc.accounts import passwords
from itlc.settings import settings

from tests.support.calling import As, Response, nobody, run_scheduled
from tests.support.limited import set_limits
from tests.support.mailbox import Mailbox
from tests.support.people import PASSWORD, email_of, person
from tests.support.queues import drain
from tests.support.racing import at_once
from tests.support.stack import Stores

ADA = email_of("Ada")
STRANGER = "198.51.100.7"
NEW = "a new one, quite long"


@pytest.fixture(autouse=True)
def own_settings(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few failures are enough, and waits are long."""
    set_limits(
        monkeypatch, pair_failures=3, account_failures=6, address_failures=9, failure_delay_seconds=30,
        account_reset_mails=2, address_reset_mails=4,
    )  # fmt: skip
    yield
    monkeypatch.undo()
    settings.cache_clear()


def sign_in(email: str = ADA, password: str = "not the one", address: str = STRANGER) -> Response:
    """An attempt to sign in."""
    return As(address=address).call("sign_in", {"email": email, "password": password})


def fail(times: int, email: str = ADA, address: str = STRANGER) -> list[int]:
    """The statuses of attempts that fail."""
    return [sign_in(email, address=address).status for _ in range(times)]


def wait(stores: Stores) -> None:
    """Let the waits be over."""
    stores.rows("itlc_users", "UPDATE sign_in_failures SET blocked_until = now() - interval '1 second'")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that is hashed, to be looked at."""
    checked: list[str] = []

    class Counting:
        """The real hasher, noting what it checks."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def verify(self, kept: str, password: str) -> bool:
            checked.append(password)
            return real.verify(kept, password)

    real = passwords.hasher
    monkeypatch.setattr(passwords, "hasher", Counting())
    return checked


def test_after_too_many_failures_an_account_and_an_address_have_to_wait(stores: Stores, checks: list[str]) -> None:
    person("Ada")
    del checks[:]
    assert fail(5) == [401, 401, 401, 429, 429]
    refused = sign_in(password=PASSWORD)
    assert refused.status == 429, "the right password, too: else guessing would go on"
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert len(checks) == 3, "whoever has to wait makes us hash nothing"
    assert sign_in("bob@example.org").status == 401, "another account from there"
    assert sign_in(address="198.51.100.8").status == 401, "another address to there"


def test_each_further_failure_doubles_the_wait(stores: Stores) -> None:
    fail(3)
    waits = []
    for _ in range(8):
        waits.append(int(sign_in().headers["Retry-After"]))
        wait(stores)
        stores.rows("itlc_users", "UPDATE sign_in_failures SET failures = 0 WHERE kind <> 'pair'")
        fail(1)
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]


def test_the_owner_is_let_in_where_they_have_signed_in_before(stores: Stores) -> None:
    person("Ada")  # at 127.0.0.1
    for number in range(6):
        assert fail(1, address=f"198.51.100.{number}") == [401]
    assert fail(1, address="198.51.100.99") == [429], "the account is under attack: unknown addresses wait"
    assert sign_in(password=PASSWORD, address="198.51.100.99").status == 429
    assert sign_in(password=PASSWORD, address="127.0.0.1").status == 201
    assert fail(1, address="127.0.0.1") == [429], "but not with a wrong password"
    assert sign_in(password=PASSWORD, address="127.0.0.1").status == 201
    assert fail(1, address="198.51.100.99") == [429], "that the owner came does not help those who guess"


def test_the_owner_is_let_in_though_somebody_guesses_at_their_own_address(stores: Stores) -> None:
    person("Ada")
    assert fail(4, address="127.0.0.1") == [401, 401, 401, 429]
    assert sign_in(password=PASSWORD, address="127.0.0.1").status == 201
    assert fail(1, address="127.0.0.1") == [401], "which begins anew"


def test_the_address_of_somebody_else_lets_nobody_in(stores: Stores) -> None:
    person("Ada")  # at 127.0.0.1
    bob = {"email": "bob@example.org", "password": PASSWORD}
    assert nobody.call("register_user", {"name": "Bob", **bob}).status == 201
    assert sign_in(**bob).status == 201, "Bob's address is the stranger's"
    assert fail(4) == [401, 401, 401, 429]
    assert sign_in(password=PASSWORD).status == 429, "where Bob has signed in, but Ada never has"
    assert sign_in(**bob).status == 201


def test_signing_in_forgets_the_failures(stores: Stores) -> None:
    person("Ada")
    for _ in range(4):
        assert fail(2) == [401, 401]
        assert sign_in(password=PASSWORD).status == 201
    kept = stores.rows("itlc_users", "SELECT kind, failures FROM sign_in_failures ORDER BY kind, failures")
    assert {row["failures"] for row in kept} == {0}
    assert {row["kind"] for row in kept} == {"account", "address"}


def test_an_unknown_address_is_answered_alike_after_the_same_work(stores: Stores, checks: list[str]) -> None:
    person("Ada")
    for address in ("127.0.0.1", STRANGER):  # where somebody has signed in before, and where nobody has
        answers: dict[str, list[Response]] = {}
        work: dict[str, int] = {}
        for email in (ADA, "nobody@example.org"):
            del checks[:]
            answers[email] = [sign_in(email, address=address) for _ in range(4)]
            work[email] = len(checks)
        known, unknown = answers[ADA], answers["nobody@example.org"]
        assert [answer.status for answer in known] == [answer.status for answer in unknown] == [401, 401, 401, 429]
        for one, other in zip(known, unknown, strict=True):
            assert {**one.json, "instance": ""} == {**other.json, "instance": ""}
            assert one.headers.keys() == other.headers.keys()
        assert work[ADA] == work["nobody@example.org"] == (4 if address == "127.0.0.1" else 3)


def test_an_address_that_tries_many_accounts_waits_whoever_is_there(stores: Stores, checks: list[str]) -> None:
    person("Ada")
    del checks[:]
    assert [sign_in(f"{n}@example.org", address="127.0.0.1").status for n in range(12)] == [401] * 9 + [429] * 3
    assert sign_in(password=PASSWORD, address="127.0.0.1").status == 429
    assert len(checks) == 9
    assert sign_in(password=PASSWORD, address=STRANGER).status == 201, "elsewhere the owner gets in"


def test_guesses_at_the_same_moment_are_counted_before_they_are_looked_at(stores: Stores) -> None:
    person("Ada")
    answers = at_once(sign_in, [()] * 12)
    assert Counter(answer.status for answer in answers) == {401: 3, 429: 9}


@pytest.mark.parametrize("spelling", [ADA.upper(), f"  {ADA} ", "\N{FULLWIDTH LATIN SMALL LETTER A}da@example.org"])
def test_other_spellings_are_the_same_account(stores: Stores, spelling: str) -> None:
    fail(3)
    assert sign_in(spelling).status == 429


def test_failures_are_forgotten_and_purged(stores: Stores) -> None:
    person("Ada")
    fail(3)
    stores.rows("itlc_users", "UPDATE sign_in_failures SET last_at = now() - interval '61 minutes'")
    wait(stores)
    assert fail(3) == [401] * 3
    run_scheduled("purge_expired")
    kinds = [row["kind"] for row in stores.rows("itlc_users", "SELECT kind FROM sign_in_failures")]
    assert sorted(kinds) == ["account", "address", "pair"], "these are recent, that of Ada's own address is not"
    stores.rows("itlc_users", "UPDATE sign_in_failures SET last_at = now() - interval '61 minutes'")
    stores.rows("itlc_users", "UPDATE known_addresses SET last_seen_at = now() - interval '91 days'")
    assert run_scheduled("purge_expired")["sessions"] == 4
    assert stores.rows("itlc_users", "SELECT * FROM known_addresses") == []


def test_nothing_that_is_kept_names_a_person_or_a_place(stores: Stores) -> None:
    person("Ada")
    fail(2)
    kept = str(
        [stores.rows("itlc_users", f"SELECT * FROM {table}") for table in ("sign_in_failures", "known_addresses")]
    )
    for secret in (ADA, "example", STRANGER, "127.0.0.1"):
        assert secret not in kept


def test_resets_beyond_the_limit_are_quietly_not_mailed(stores: Stores) -> None:
    person("Ada")
    mailbox = Mailbox(stores.endpoints)
    for _ in range(4):
        for email in (ADA, "nobody@example.org"):
            answer = As(address=f"198.51.100.{_}").call("request_password_reset", {"email": email})
            assert (answer.status, answer.text) == (202, "")
    drain()
    assert len(mailbox.mails(ADA)) == 2
    assert len(stores.rows("itlc_users", "SELECT * FROM outbox")) == 4, "two for each, known or not"


def test_one_address_has_only_so_many_resets_mailed(stores: Stores) -> None:
    for number in range(6):
        answer = nobody.call("request_password_reset", {"email": f"{number}@example.org"})
        assert (answer.status, answer.text) == (202, "")
    assert len(stores.rows("itlc_users", "SELECT * FROM outbox")) == 4


def test_whoever_resets_their_password_may_sign_in_from_there(stores: Stores) -> None:
    person("Ada")
    mailbox = Mailbox(stores.endpoints)
    for number in range(6):
        fail(1, address=f"198.51.100.{number}")
    here = As(address="203.0.113.5")
    here.call("request_password_reset", {"email": ADA})
    drain()
    token = mailbox.reset_token(ADA)
    assert sign_in(password=PASSWORD, address=here.address).status == 429
    assert here.call("reset_password", {"new_password": NEW}, token=token).status == 204
    assert sign_in(password=NEW, address=here.address).status == 201
    assert sign_in(password=NEW, address="203.0.113.6").status == 429
