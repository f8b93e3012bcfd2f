"""A new password by e-mail, through the operations, the queue and the emulator's SES."""

import pytest
from itlc.accounts.model import MOST_OPEN_RESETS
from itlc.errors import NotFound, StoreAway
from itlc.stores import outbox

from tests.support.calling import deliver, nobody
from tests.support.mailbox import Mailbox
from tests.support.people import PASSWORD, email_of, person, signed_in
from tests.support.queues import dead_letters, drain
from tests.support.stack import Stores

NEW = "a new one, quite long"
ADA = email_of("Ada")


@pytest.fixture
def mailbox(stores: Stores) -> Mailbox:
    """The mails from now on."""
    return Mailbox(stores.endpoints)


def ask(email: str) -> None:
    """Ask for a reset, and let the mail be sent."""
    answer = nobody.call("request_password_reset", {"email": email})
    assert (answer.status, answer.text) == (202, "")
    drain()


def test_the_token_in_the_mail_sets_a_new_password_once(stores: Stores, mailbox: Mailbox) -> None:
    ada = person("Ada")
    ask(ADA.upper())
    token = mailbox.reset_token(ADA)
    (mail,) = mailbox.mails(ADA)
    assert "30 minutes" in mail["BodyText"]
    assert token in mail["BodyHtml"]
    (kept,) = stores.rows("itlc_users", "SELECT *, expires_at - created_at AS lasting FROM password_resets")
    assert kept["lasting"].total_seconds() == 30 * 60

    assert nobody.call("reset_password", {"new_password": NEW}, token=token).status == 204
    assert nobody.call("reset_password", {"new_password": NEW}, token=token).status == 404
    assert nobody.call("sign_in", {"email": ADA, "password": PASSWORD}).status == 401
    signed_in("Ada", NEW)
    assert ada.call("change_me", {"name": "A"}).status == 401
    reasons = stores.rows("itlc_users", "SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
    assert reasons == [{"end_reason": "password_changed"}]


def test_a_new_password_by_one_mail_voids_the_others(stores: Stores, mailbox: Mailbox) -> None:
    person("Ada")
    ask(ADA)
    first = mailbox.reset_token(ADA)
    ask(ADA)
    second = mailbox.reset_token(ADA)
    assert nobody.call("reset_password", {"new_password": NEW}, token=second).status == 204
    assert nobody.call("reset_password", {"new_password": "another one, quite long"}, token=first).status == 404
    signed_in("Ada", NEW)


def test_of_two_who_prove_the_same_token_before_either_sets_a_password_one_does(
    stores: Stores, mailbox: Mailbox
) -> None:
    from itlc.accounts import recovery
    from itlc.accounts.schemas import ResetPassword
    from itlc.stores import postgres

    person("Ada")
    ask(ADA)
    token, another = mailbox.reset_token(ADA), "another one, quite long"
    first, second = (recovery.prove_token(token, ResetPassword(new_password=new)) for new in (NEW, another))
    postgres.users.write(lambda db: recovery.reset_password(db, first, source="somewhere"))
    with pytest.raises(NotFound):
        postgres.users.write(lambda db: recovery.reset_password(db, second, source="somewhere"))
    signed_in("Ada", NEW)


def test_the_token_stands_nowhere_but_in_the_mail(stores: Stores, mailbox: Mailbox) -> None:
    person("Ada")
    ask(ADA)
    token = mailbox.reset_token(ADA)
    for table in ("password_resets", "outbox", "inbox", "users", "audit"):
        assert token not in str(stores.rows("itlc_users", f"SELECT * FROM {table}"))


def test_an_unknown_address_gets_the_same_answer_and_no_mail(stores: Stores, mailbox: Mailbox) -> None:
    person("Ada")
    known = nobody.call("request_password_reset", {"email": ADA})
    unknown = nobody.call("request_password_reset", {"email": "nobody@example.org"})
    assert (known.status, known.text) == (unknown.status, unknown.text) == (202, "")
    assert {name for name in known.headers if known.headers[name] != unknown.headers[name]} == {"X-Request-Id"}
    written = stores.rows("itlc_users", "SELECT queue, type, aggregate FROM outbox")
    assert len(written) == 2
    assert written[0] == written[1]  # both did the same: nobody was looked up
    assert drain() == 2
    assert mailbox.mails("nobody@example.org") == []
    assert len(mailbox.mails(ADA)) == 1


def test_a_message_that_comes_twice_sends_one_mail(stores: Stores, mailbox: Mailbox) -> None:
    person("Ada")
    nobody.call("request_password_reset", {"email": ADA})
    from itlc.stores import postgres

    stores.rows("itlc_users", "UPDATE outbox SET published_at = NULL, claimed_until = now() - interval '1 minute'")
    (event,) = postgres.users.write(outbox.claim)
    assert deliver("send_email", event.body()) == []
    assert deliver("send_email", event.body()) == []
    assert len(mailbox.mails(ADA)) == 1
    assert len(stores.rows("itlc_users", "SELECT * FROM password_resets")) == 1


def test_the_address_of_somebody_erased_cannot_be_guessed_by_what_was_mailed(stores: Stores, mailbox: Mailbox) -> None:
    ada, _ = person("Ada"), person("Bob")
    for name in ("Ada", "Bob"):
        ask(email_of(name))
    noted = "SELECT message_id FROM inbox WHERE consumer = 'send_email' AND fingerprint IS NOT NULL"
    assert len(stores.rows("itlc_users", noted)) == 2
    assert ada.call("erase_me").status == 202
    assert len(stores.rows("itlc_users", noted)) == 1


def test_a_mail_that_ses_did_not_take_is_tried_again(
    stores: Stores, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itlc import aws
    from itlc.accounts import mails
    from itlc.events import event

    person("Ada")
    body = event("emails", "password_reset", "password_reset", {"email": ADA}).body()
    import boto3

    nowhere = boto3.client("ses", endpoint_url="http://127.0.0.1:9", region_name="us-east-1")
    with monkeypatch.context() as patched:
        patched.setattr(mails, "client", lambda service: nowhere)
        assert deliver("send_email", body) == ["message-0"]
    assert aws.client("ses") is not nowhere
    assert deliver("send_email", body) == []
    assert nobody.call("reset_password", {"new_password": NEW}, token=mailbox.reset_token(ADA)).status == 204


def test_however_often_ses_was_away_the_mail_goes_out_when_it_is_back(
    stores: Stores, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itlc.accounts import mails
    from itlc.events import event

    person("Ada")
    asked = {"email": ADA}
    waiting = [event("emails", "password_reset", "password_reset", asked).body() for _ in range(MOST_OPEN_RESETS)]

    def away(mail: mails.Mail) -> None:
        raise StoreAway("SES")

    with monkeypatch.context() as patched:
        patched.setattr(mails, "send", away)
        for body in waiting * 2:
            assert deliver("send_email", body) == ["message-0"]
    assert len(stores.rows("itlc_users", "SELECT * FROM password_resets")) == MOST_OPEN_RESETS
    assert deliver("send_email", *waiting) == []
    assert len(mailbox.mails(ADA)) == MOST_OPEN_RESETS
    assert deliver("send_email", *waiting) == []
    assert len(mailbox.mails(ADA)) == MOST_OPEN_RESETS
    assert nobody.call("reset_password", {"new_password": NEW}, token=mailbox.reset_token(ADA)).status == 204


def test_what_a_new_password_made_void_is_not_mailed_again(
    stores: Stores, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itlc.events import event
    from itlc.stores import inbox

    person("Ada")
    body = event("emails", "password_reset", "password_reset", {"email": ADA}).body()

    def cut_off(*_: object) -> bool:
        raise StoreAway("itlc_users")

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "first_time", cut_off)  # the mail is out, and nobody notes it
        assert deliver("send_email", body) == ["message-0"]
    token = mailbox.reset_token(ADA)
    assert nobody.call("reset_password", {"new_password": NEW}, token=token).status == 204
    assert deliver("send_email", body) == []
    assert len(mailbox.mails(ADA)) == 1
    assert nobody.call("reset_password", {"new_password": NEW}, token=token).status == 404


def test_a_mailbox_cannot_be_flooded(stores: Stores, mailbox: Mailbox) -> None:
    person("Ada")
    for _ in range(MOST_OPEN_RESETS + 2):
        nobody.call("request_password_reset", {"email": ADA})
    drain()
    assert len(mailbox.mails(ADA)) == MOST_OPEN_RESETS


@pytest.mark.parametrize(
    ("payload", "type"), [({}, "password_reset"), ({"email": 3}, "password_reset"), ({"email": ADA}, "spam")]
)
def test_what_can_never_be_sent_is_buried(stores: Stores, payload: dict[str, object], type: str) -> None:
    from itlc.events import event

    assert deliver("send_email", event("emails", type, "password_reset", payload).body()) == []
    (letter,) = dead_letters("emails")
    assert letter["reason"]


def test_a_token_that_is_over_or_unknown_or_for_a_weak_password_sets_nothing(stores: Stores, mailbox: Mailbox) -> None:
    person("Ada")
    ask(ADA)
    token = mailbox.reset_token(ADA)
    assert nobody.call("reset_password", {"new_password": "a" * 12}, token=token).status == 422
    assert nobody.call("reset_password", {"new_password": "short"}, token=token).status == 422
    assert nobody.call("reset_password", {"new_password": NEW}, token="x" * 43).status == 404
    stores.rows("itlc_users", "UPDATE password_resets SET expires_at = now() - interval '1 second'")
    assert nobody.call("reset_password", {"new_password": NEW}, token=token).status == 404
    signed_in("Ada", PASSWORD)


def test_a_new_password_or_address_voids_what_was_mailed_before(stores: Stores, mailbox: Mailbox) -> None:
    ada = person("Ada")
    ask(ADA)
    first = mailbox.reset_token(ADA)
    change = {"current_password": PASSWORD, "new_password": NEW}
    assert ada.call("change_password", change).status == 204
    assert nobody.call("reset_password", {"new_password": NEW}, token=first).status == 404
    ask(ADA)
    second = mailbox.reset_token(ADA)
    assert ada.call("change_me", {"email": "ada@elsewhere.org"}).status == 200
    assert nobody.call("reset_password", {"new_password": NEW}, token=second).status == 404
