"""The picture of a plan and its Mermaid source: well-formed whatever the steps say, and saying what the plan is."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itlc.plans.flowchart import flowchart
from itlc.plans.model import Step
from itlc.plans.picture import LINES, TEXT_WIDTH, picture
from itlc.plans.presentation import present

SVG = "{http://www.w3.org/2000/svg}"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
HOSTILE = [
    "</text><script>alert(1)</script>",
    "]]> <!-- & &amp; \" ' -->",
    "\ufffe\uffff\ud800 no XML",
    "W" * 10_000,
    "\u202eabc שלום",
    'x"]; click s1 "javascript:alert(1)"',
    "end\nsubgraph %%{init: {}}%% style:a#b;",
    "1. a list\n- `code` **bold**",
]


def a_step(number: int, *after: int, hours: float = 1.0, done: bool = False, text: str = "Dig") -> Step:
    return Step(str(number), 7, number, text, "", (), after, hours, NOW, NOW if done else None)


PLAN = [
    a_step(1, done=True, text="Survey"),
    a_step(2, 1, hours=8),
    a_step(3, 1, hours=2),
    a_step(4, 2, 3),
    a_step(5, 1, 4),
]


def drawn(steps: list[Step]) -> ElementTree.Element:
    return ElementTree.fromstring(picture(7, steps).encode())  # noqa: S314 - our own


def boxes(root: ElementTree.Element) -> dict[int, ElementTree.Element]:
    found = (group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None)
    return {int((group.find(f".//{SVG}tspan[@class='number']").text) or 0): group for group in found}  # type: ignore[union-attr]


def place(box: ElementTree.Element) -> tuple[float, float]:
    x, y = re.findall(r"[-\d.]+", box.attrib["transform"])
    return float(x), float(y)


def test_each_step_is_a_box_in_the_column_of_its_layer() -> None:
    found = boxes(drawn(PLAN))
    assert sorted(found) == [1, 2, 3, 4, 5]
    columns = {number: place(box)[0] for number, box in found.items()}
    assert columns[1] < columns[2] == columns[3] < columns[4] < columns[5]
    assert place(found[2])[1] != place(found[3])[1]


def test_states_differ_by_word_and_the_critical_path_by_an_outline() -> None:
    found = boxes(drawn(PLAN))
    states = {number: box.attrib["class"] for number, box in found.items()}
    assert states == {1: "done", 2: "ready", 3: "ready", 4: "blocked", 5: "blocked"}
    assert all(states[number] in "".join(box.itertext()) for number, box in found.items())
    outlined = {number for number, box in found.items() if box.find(f"{SVG}rect[@class='outline']") is not None}
    assert outlined == {1, 2, 4, 5}


def test_each_dependency_is_an_arrow_from_box_to_box_past_all_others() -> None:
    root = drawn(PLAN)
    arrows = [path for path in root.iter(f"{SVG}path") if path.attrib.get("class", "").startswith("arrow")]
    assert len(arrows) == 6
    assert sum("critical" in path.attrib["class"] for path in arrows) == 3
    long_arrow = next(path.attrib["d"] for path in arrows if "H" in path.attrib["d"])
    lanes = re.findall(r"([-\d.]+) ([-\d.]+)H", long_arrow)
    assert len(lanes) == 2, "step 5 waits for step 1, two columns before the one next to it"
    for x, y in lanes:
        beside = [box for box in boxes(root).values() if place(box)[0] == float(x)]
        assert beside
        for box in beside:
            outer = box.find(f"{SVG}rect[@class='box']")
            assert outer is not None
            top = place(box)[1]
            assert not top <= float(y) <= top + float(outer.attrib["height"]), "a long arrow runs between boxes"


def test_a_screen_reader_is_told_the_whole_plan() -> None:
    root = drawn(PLAN)
    assert root.attrib["role"] == "img"
    said = {element.attrib["id"]: element.text or "" for element in root if "id" in element.attrib}
    assert root.attrib["aria-labelledby"].split() == ["title", "description"]
    assert said["title"] == "Plan of order 7"
    assert "1 of 5 steps done (20%)" in said["description"]
    assert "Critical path: 1, 2, 4, 5." in said["description"]
    assert "Step 4, blocked, 1 h, after steps 2 and 3: Dig" in said["description"]


def test_the_picture_follows_light_and_dark_mode_and_loads_nothing() -> None:
    text = picture(7, PLAN)
    assert "@media (prefers-color-scheme: dark)" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|href|<script|url\((?!#)", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words(text: str) -> None:
    root = drawn([a_step(1, text=text), a_step(2, 1, text=text)])
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "style", "marker", "path", "rect", "text", "g", "tspan")
    }
    assert len(boxes(root)) == 2


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=4))
def test_any_words_make_a_picture_and_a_source(texts: list[str]) -> None:
    steps = [a_step(number, text=text) for number, text in enumerate(texts, start=1)]
    found = boxes(drawn(steps))
    assert len(found) == len(steps)
    for box in found.values():
        lines = [text for text in box.findall(f"{SVG}text") if "class" not in text.attrib and text.find("*") is None]
        assert 1 <= len(lines) <= LINES
        assert all(len(line.text or "") <= TEXT_WIDTH for line in lines if line.text and line.text.isascii())
    nodes = re.findall(r'^  s(\d+)\["(.*)"\]:::ready$', flowchart(7, steps), re.MULTILINE)
    assert [int(number) for number, _ in nodes] == [step.step_number for step in steps]
    for _, label in nodes:
        words = label.split("<br/>", 1)[1]
        assert not re.search(r"""["'`<>\[\]{}()|;:%*_.+-]""", re.sub(r"#\d+;", "", words))


def test_long_words_are_broken_and_long_text_is_shortened() -> None:
    box = boxes(drawn([a_step(1, text="n" * 400)]))[1]
    lines = [text.text or "" for text in box.findall(f"{SVG}text")][2:]
    assert len(lines) == LINES
    assert lines[-1].endswith("…")
    assert set("".join(lines)) == {"n", "…"}


def test_the_flowchart_says_the_same() -> None:
    lines = flowchart(7, PLAN).splitlines()
    assert lines[:4] == ["---", "title: Plan of order 7", "---", "flowchart LR"]
    assert '  s1["Step 1, done, 1 h<br/>Survey"]:::done' in lines
    assert [line.strip() for line in lines if "==>" in line] == ["s1 ==> s2", "s2 ==> s4", "s4 ==> s5"]
    assert [line.strip() for line in lines if "-->" in line] == ["s1 --> s3", "s3 --> s4", "s1 --> s5"]
    assert {line.split()[1] for line in lines if "classDef" in line} == {"done", "ready", "blocked"}


def test_an_order_without_a_plan_has_a_picture_too() -> None:
    assert "No steps have been defined yet." in "".join(drawn([]).itertext())
    assert flowchart(7, []).startswith("---\ntitle: Plan of order 7\n---\nflowchart LR\n")


def test_a_dense_plan_is_drawn_without_lanes_in_good_time() -> None:
    steps = [replace(a_step(n), depends_on=tuple(range(max(1, n - 10), n))) for n in range(1, 501)]
    root = drawn(steps)
    assert len(boxes(root)) == 500


@pytest.mark.parametrize("content_type", ["application/json", "image/svg+xml", "text/vnd.mermaid"])
def test_what_is_sent_depends_on_accept(content_type: str) -> None:
    reply = present(7, PLAN, content_type)
    assert reply.headers["Vary"] == "Accept"
    assert reply.headers.get("Content-Type", "application/json").split(";")[0] == content_type
