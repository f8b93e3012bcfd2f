"""Which of several representations a request's `Accept` header prefers (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence

_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """The content type out of `offered` that the header prefers: by quality, then by how exactly it is named, then
    the one that is offered first. Where the header is absent or fits none, it is the first, for an answer that one
    did not ask for says more than a refusal."""
    ranges = [parsed for text in (accept or "*/*").split(",") if (parsed := _media_range(text)) is not None]

    def preference(content_type: str) -> tuple[float, int]:
        # the most specific range that fits speaks for the type, be its quality high or low
        fitting = [(_exactness(kind, content_type), quality) for kind, quality in ranges]
        exactness, quality = max(fitting, default=(0, 0.0))
        return (quality, exactness) if exactness else (0.0, 0)

    return max(offered, key=preference)  # the first of equals


def _media_range(text: str) -> tuple[str, float] | None:
    """A range such as `image/*;q=0.8` as its type and quality; None when it cannot be read."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((value.removeprefix("q=") for value in parameters if value.startswith("q=")), "1")
    if not kind or not _QUALITY.fullmatch(quality):
        return None
    return kind, float(quality)


def _exactness(kind: str, content_type: str) -> int:
    """How exactly a range fits a content type: 3 names it, 2 names its family, 1 names nothing, 0 does not fit."""
    if kind == content_type:
        return 3
    if kind == content_type.split("/")[0] + "/*":
        return 2
    return 1 if kind == "*/*" else 0
