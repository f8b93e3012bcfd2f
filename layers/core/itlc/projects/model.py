"""What holds for projects. No I/O."""

from typing import Literal

from itlc.fields import search_words

ProjectStatus = Literal["open", "in_progress", "completed", "paid"]
"""How a project stands by its orders: none, under way, all completed (or cancelled), all paid."""

MAX_SERVICES = 100


def words_of(name: str, description: str) -> list[str]:
    """The words by which a project is found."""
    return search_words(f"{name}\n{description}")
