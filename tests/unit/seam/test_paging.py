"""Signed cursors and keyset pages, without any store."""

from datetime import UTC, datetime

import pytest
from itlc import paging
from itlc.errors import Invalid
from itlc.paging import PageQuery, cut, read_cursor, write_cursor

MOMENT = datetime(2026, 11, 23, 20, 36, 10, 123456, tzinfo=UTC)


@pytest.fixture(autouse=True)
def signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without Secrets Manager."""
    monkeypatch.setattr(paging, "secret", lambda name: {"key": "a key"})


def test_a_cursor_gives_back_its_position() -> None:
    position = (MOMENT, 7, "text", None)
    assert read_cursor(write_cursor(position, "scope"), "scope") == position


@pytest.mark.parametrize("scope", ["", "other", "scope "])
def test_a_cursor_is_good_for_its_scope_only(scope: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        read_cursor(write_cursor((MOMENT, 7), "scope"), scope)


def test_no_changed_character_is_accepted() -> None:
    cursor = write_cursor((MOMENT, 7), "scope")
    for place in range(len(cursor)):
        other = "A" if cursor[place] != "A" else "B"
        with pytest.raises(Invalid):
            read_cursor(cursor[:place] + other + cursor[place + 1 :], "scope")


@pytest.mark.parametrize("moment", [MOMENT, MOMENT.replace(microsecond=0), MOMENT.replace(microsecond=120000)])
@pytest.mark.parametrize("added", ["!", "\n", " ", "=", "*", "AAAA"])
def test_no_added_character_is_accepted(moment: datetime, added: str) -> None:
    """Nor the bits to spare of the last one, of which there are none, two or four."""
    cursor = write_cursor((moment, 12), "scope")
    for place in (0, 7, len(cursor)):
        with pytest.raises(Invalid):
            read_cursor(cursor[:place] + added + cursor[place:], "scope")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in alphabet.replace(cursor[-1], ""):
        with pytest.raises(Invalid):
            read_cursor(cursor[:-1] + last, "scope")


@pytest.mark.parametrize("cursor", ["", "x", "é", "====", "A" * 500])
def test_what_is_no_cursor_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid):
        read_cursor(cursor, "scope")


def test_the_extra_row_only_says_that_there_are_more() -> None:
    query = PageQuery(limit=2)
    page = cut([1, 2, 3], query, lambda item: (item,))
    assert (list(page.items), page.next) == ([1, 2], (2,))
    last = cut([1, 2], query, lambda item: (item,))
    assert (list(last.items), last.next) == ([1, 2], None)


def test_filters_leave_out_limit_and_cursor() -> None:
    class Query(PageQuery):
        q: str | None = None

    assert Query(limit=3, cursor="x", q="roses").filters == {"q": "roses"}
