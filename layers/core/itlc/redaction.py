"""Taking a person out of a text that stays."""

import re
from collections.abc import Iterable

REDACTED = "…"
"""What stands for a name or an address. One character, so that no text grows beyond its column."""


def redacted(text: str, words: Iterable[str]) -> str:
    """`text` without these names and addresses: each is found as a whole word, in whatever case, the longest first."""
    found = sorted({word for word in words if word.strip()}, key=len, reverse=True)
    if not found:
        return text
    any_of_them = "|".join(re.escape(word) for word in found)
    return re.sub(rf"(?<!\w)(?:{any_of_them})(?!\w)", REDACTED, text, flags=re.IGNORECASE)
