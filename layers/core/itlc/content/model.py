"""What holds for all that providers write. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from itlc.content.schemas import BlogView, FaqView, PieceView
from itlc.fields import search_words

V = TypeVar("V", bound=PieceView)


@dataclass(frozen=True)
class Kind(Generic[V]):
    """A kind of piece that providers write: what it is called, how it is answered, which of its fields `q` searches."""

    name: str
    view: type[V]
    searched: tuple[str, ...]

    @property
    def word(self) -> str:
        """What operations and the audit call it: `blog`, `faq`."""
        return self.name.lower()

    def words_of(self, piece: Mapping[str, Any]) -> list[str]:
        """The words by which the piece is found."""
        return search_words("\n".join(piece[field] for field in self.searched))


BLOG = Kind("blog", BlogView, ("title", "content"))
FAQ = Kind("FAQ", FaqView, ("question", "answer"))
