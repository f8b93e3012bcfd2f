"""The words by which things are found: folded, each once, none left out."""

import pytest
from itlc.fields import search_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Crème brûlée, CRÈME!", ["creme", "brulee"]),
        ("Cre\u0300me", ["creme"]),
        ("Straße STRASSE", ["strasse"]),
        ("İstanbul", ["istanbul"]),
        ("\uff21\uff22\uff23 \ufb01ne \u2122", ["abc", "fine", "tm"]),
        ("a_b and/or 3.5 don't", ["a", "b", "and", "or", "3", "5", "don", "t"]),
        ("... !?", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_words_are_folded(text: str, words: list[str]) -> None:
    assert search_words(text) == words


def test_a_long_text_keeps_its_last_word() -> None:
    text = " ".join(f"word{n}" for n in range(10_000)) + " zebra"
    assert search_words(text)[-1] == "zebra"
    assert len(search_words(text)) == 10_001
