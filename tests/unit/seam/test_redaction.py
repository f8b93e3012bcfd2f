"""Taking a person out of a text that stays."""

import pytest
from itlc.redaction import redacted


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Ask Ada Lovelace first.", "Ask … first."),
        ("ADA LOVELACE's garden", "…'s garden"),
        ("Write to ada@example.org.", "Write to …."),
        ("Write to Ada@Example.ORG, please", "Write to …, please"),
        ("Lovelace, Adamant, canada@example.org", "Lovelace, Adamant, canada@example.org"),
        ("Ada Lovelaces", "Ada Lovelaces"),
        ("Bo (Ada Lovelace, Bo)", "… (…, …)"),
        ("Book a Bob", "Book a Bob"),
        ("", ""),
    ],
)
def test_names_and_addresses_go_as_whole_words(text: str, after: str) -> None:
    assert redacted(text, ["Ada Lovelace", "Bo", "ada@example.org"]) == after


def test_the_longest_goes_first_so_that_no_half_is_left() -> None:
    assert redacted("Ada Lovelace and Ada", ["Ada", "Ada Lovelace"]) == "… and …"


def test_signs_in_a_name_are_no_pattern() -> None:
    assert redacted("a.b (c) axb", ["a.b", "(c)"]) == "… … axb"


@pytest.mark.parametrize("words", [[], [""], ["  "]])
def test_without_words_the_text_stays(words: list[str]) -> None:
    assert redacted("Nothing  to do", words) == "Nothing  to do"
