"""What the mails of accounts say."""

import re

import pytest
from itlc.accounts.mails import reset_mail
from itlc.settings import settings


def test_a_name_cannot_write_html_into_a_mail() -> None:
    mail = reset_mail("ada@example.org", '<a href="https://evil.example">Ada</a> $what_to_do', "the-token")
    assert "<a" not in mail.html
    assert "&lt;a href" in mail.html
    assert "$what_to_do" in mail.text, "nor is it a template"
    assert mail.text.count("the-token") == mail.html.count("the-token") == 1


def test_a_front_ends_page_is_linked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITLC_RESET_PAGE", "https://shop.example/reset")
    settings.cache_clear()
    try:
        mail = reset_mail("ada@example.org", "Ada", "tok-en_1")
    finally:
        settings.cache_clear()
    assert re.findall(r"https://\S+", mail.text) == ["https://shop.example/reset?token=tok-en_1"]
    assert 'href="https://shop.example/reset?token=tok-en_1"' in mail.html
