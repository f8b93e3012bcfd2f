"""Which representation an `Accept` header prefers."""

import pytest
from itlc import answers
from itlc.negotiation import preferred
from itlc.settings import Settings

JSON, SVG, MERMAID = OFFERED = ("application/json", "image/svg+xml", "text/vnd.mermaid")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("image/svg+xml", SVG),
        ("IMAGE/SVG+XML", SVG),
        ("image/*", SVG),
        ("text/vnd.mermaid", MERMAID),
        ("text/*;q=0.3, image/*;q=0.2", MERMAID),
        ("application/json;q=0.5, image/svg+xml", SVG),
        ("image/svg+xml;q=0.5, application/json", JSON),
        ("image/svg+xml, */*", SVG),  # of equal quality, the one that is named
        ("image/svg+xml, application/json", JSON),  # both are: the first offered
        ("image/svg+xml;q=0, */*", JSON),
        ("application/json;q=0, */*;q=0.1", SVG),  # the exact range speaks, though a wider one is higher
        ("image/svg+xml; charset=utf-8; q=0.9, text/vnd.mermaid;q=0.8", SVG),
        ("text/html, image/png", JSON),  # nothing fits: the first offered
        ("image/svg+xml;q=2, text/vnd.mermaid;q=0.1", MERMAID),  # a quality that is none
        (",;q=1,,text/vnd.mermaid", MERMAID),
        ("text/html,application/xhtml+xml,image/avif,image/svg+xml,*/*;q=0.8", SVG),  # a browser's
    ],
)
def test_the_preferred_type(accept: str | None, chosen: str) -> None:
    assert preferred(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    ("origin", "own", "varies"),
    [
        ("*", {}, None),
        ("*", {"Vary": "Accept"}, "Accept"),
        ("https://itlc.example", {}, "Origin"),
        ("https://itlc.example", {"Vary": "Accept"}, "Origin, Accept"),
    ],
)
def test_caches_are_told_all_that_an_answer_depends_on(
    monkeypatch: pytest.MonkeyPatch, origin: str, own: dict[str, str], varies: str | None
) -> None:
    monkeypatch.setattr(answers, "settings", lambda: Settings(cors_origin=origin))
    assert answers.with_standing_headers(own, "id").get("Vary") == varies
