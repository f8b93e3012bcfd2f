"""A plan as an SVG picture: layers as columns, steps as boxes, arrows from each step to those that wait for it.

States differ by word, sign and outline, not by colour alone; the critical path has a second outline and thick
arrows. The colours follow the viewer's light or dark mode. `<title>` and `<desc>` say to a screen reader what the
picture shows.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape

from itlc.plans import model
from itlc.plans.model import Step

BOX_WIDTH, LANE_HEIGHT = 236, 10
ROW_GAP, COLUMN_GAP = 22, 76
MARGIN, HEAD, FOOT = 28, 84, 60
LEAST_WIDTH = 720
FONT_SIZE, LINE_HEIGHT, LINES = 13, 17, 3
FIRST_LINE, BELOW_LINES = 46, 16
TEXT_WIDTH = BOX_WIDTH - 28
SPOKEN_LENGTH = 100
MOST_LANES = 1500
"""With more long arrows than that, they run straight, beneath the boxes."""

STYLE = """
svg { --paper: #ffffff; --ink: #1c2430; --quiet: #566070; --line: #7c8797; --critical: #b3470f;
  --done: #e1f3e7; --done-ink: #1f6b3e; --ready: #ffffff; --ready-ink: #1b57b4;
  --blocked: #f2f3f5; --blocked-ink: #566070;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; color-scheme: light dark }
@media (prefers-color-scheme: dark) { svg { --paper: #14181f; --ink: #e8ecf2; --quiet: #a3adbb; --line: #76818f;
  --critical: #ff9a5c; --done: #173524; --done-ink: #7fd6a0; --ready: #1a2230; --ready-ink: #8ab8ff; --blocked: #20252d;
  --blocked-ink: #a3adbb } }
.paper { fill: var(--paper) }
text { fill: var(--ink) }
.heading { font-size: 18px; font-weight: 600 }
.quiet { fill: var(--quiet) }
.number { font-size: 15px; font-weight: 700 }
.state { font-weight: 600 }
.arrow { fill: none; stroke: var(--line); stroke-width: 1.4 }
.arrow.critical { stroke: var(--critical); stroke-width: 3.2 }
.tip { fill: var(--line) }
.tip.critical { fill: var(--critical) }
.box { stroke-width: 1.6 }
.outline { fill: none; stroke: var(--critical); stroke-width: 2.4 }
.done .box { fill: var(--done); stroke: var(--done-ink) }
.ready .box { fill: var(--ready); stroke: var(--ready-ink); stroke-width: 2.4 }
.blocked .box { fill: var(--blocked); stroke: var(--blocked-ink); stroke-dasharray: 6 4 }
.done .state { fill: var(--done-ink) }
.ready .state { fill: var(--ready-ink) }
.blocked .state { fill: var(--blocked-ink) }
.sign { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round }
.done .sign { stroke: var(--done-ink) }
.ready .sign { stroke: var(--ready-ink); fill: var(--ready-ink) }
.blocked .sign { stroke: var(--blocked-ink) }
""".strip()

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no `Char` of XML 1.0."""

SIGNS = {"done": "M0 5l3.5 4L11 0", "ready": "M2 0l7 5-7 5z", "blocked": "M3 0v10M8 0v10"}
"""A tick, a triangle as on a player, the two bars of a pause; 11 by 10."""


def picture(order_id: int, steps: Sequence[Step]) -> str:
    """The plan as an SVG document. `steps` is the whole plan, by step number."""
    columns = _columns(steps)
    path = model.critical_path(steps)
    tallest = max((_height(column) for column in columns), default=0)
    width = max(LEAST_WIDTH, 2 * MARGIN + len(columns) * (BOX_WIDTH + COLUMN_GAP) - COLUMN_GAP)
    height = HEAD + tallest + FOOT + MARGIN
    for column in columns:
        _stack(column, HEAD + (tallest - _height(column)) / 2)
    places = {slot.key: slot for column in columns for slot in column}
    states = _states(steps)
    title = f"Plan of order {order_id}"
    body = [
        f'<text class="heading" x="{MARGIN}" y="{MARGIN + 12}">{title}</text>',
        f'<text class="quiet" x="{MARGIN}" y="{MARGIN + 34}">{_summary(steps, path)}</text>',
        *_arrows(steps, set(pairwise(path)), places),
        *(_box(step, places[step.step_number, 0], states[step.step_number], path) for step in steps),
        _legend(height - MARGIN - 12),
    ]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" '
            f'viewBox="0 0 {width} {height:.0f}" role="img" aria-labelledby="title description">',
            f'<title id="title">{title}</title>',
            f'<desc id="description">{_description(steps, path, states)}</desc>',
            f"<style>{STYLE}</style>",
            _tip("tip", ""),
            _tip("critical-tip", " critical"),
            '<rect class="paper" width="100%" height="100%"/>',
            *body,
            "</svg>",
        ]
    )


# Where everything is


@dataclass
class Slot:
    """A place in a column: a step's box, or a lane by which a long arrow passes.

    `key` is the step's number and how many columns after it this is: 0 for its box, more for a lane of its arrows.
    """

    key: tuple[int, int]
    x: float
    height: float
    y: float = 0.0
    before: list["Slot"] = field(default_factory=list)
    after: list["Slot"] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """The height at which arrows come and go."""
        return self.y + self.height / 2


def _columns(steps: Sequence[Step]) -> list[list[Slot]]:
    """The layers' slots, ordered so that arrows cross little, after Sugiyama: long arrows get a lane in each column
    that they pass (those from one step share it), and each slot moves towards the mean of its neighbours."""
    layers = model.layers(steps)
    layer = {number: index for index, numbers in enumerate(layers) for number in numbers}
    columns = [
        [Slot((number, 0), _left(index), _box_height(steps[number - 1])) for number in numbers]
        for index, numbers in enumerate(layers)
    ]
    places = {slot.key: slot for column in columns for slot in column}
    reach = {step.step_number: 0 for step in steps}  # columns until the furthest step that waits for it
    for step in steps:
        for number in step.depends_on:
            reach[number] = max(reach[number], layer[step.step_number] - layer[number])
    if sum(max(0, far - 1) for far in reach.values()) <= MOST_LANES:
        for number, far in reach.items():
            for distance in range(1, far):
                passed = layer[number] + distance
                places[number, distance] = Slot((number, distance), _left(passed), LANE_HEIGHT)
                columns[passed].append(places[number, distance])
                _join(places[number, distance - 1], places[number, distance])
    for step in steps:
        for number in step.depends_on:
            last = places.get((number, layer[step.step_number] - layer[number] - 1), places[number, 0])
            _join(last, places[step.step_number, 0])
    for _ in range(4):
        for column in columns:
            _settle(column, towards_before=True)
        for column in reversed(columns):
            _settle(column, towards_before=False)
    return columns


def _left(column: int) -> float:
    return MARGIN + column * (BOX_WIDTH + COLUMN_GAP)


def _box_height(step: Step) -> float:
    return FIRST_LINE + LINE_HEIGHT * (len(_wrapped(step.description)) - 1) + BELOW_LINES


def _join(first: Slot, second: Slot) -> None:
    first.after.append(second)
    second.before.append(first)


def _settle(column: list[Slot], *, towards_before: bool) -> None:
    """Order a column by where its neighbours on one side are, and stack it around the same middle as all others."""

    def wish(slot: Slot) -> float:
        neighbours = slot.before if towards_before else slot.after
        return sum(other.middle for other in neighbours) / len(neighbours) if neighbours else slot.middle

    column.sort(key=wish)
    _stack(column, -_height(column) / 2)


def _stack(column: Sequence[Slot], top: float) -> None:
    for slot in column:
        slot.y = top
        top += slot.height + ROW_GAP


def _height(column: Sequence[Slot]) -> float:
    return sum(slot.height + ROW_GAP for slot in column) - ROW_GAP


# What is drawn


def _tip(name: str, kind: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="tip{kind}" d="M0 0L10 5L0 10z"/></marker>'
    )


def _arrows(steps: Sequence[Step], critical: set[tuple[int, int]], places: Mapping[tuple[int, int], Slot]) -> list[str]:
    """An arrow for each dependency; those of the critical path come last, on top."""
    plain, thick = [], []
    for step in steps:
        end = places[step.step_number, 0]
        for number in step.depends_on:
            way = _way(number, end, places)
            if (number, step.step_number) in critical:
                thick.append(f'<path class="arrow critical" marker-end="url(#critical-tip)" d="{way}"/>')
            else:
                plain.append(f'<path class="arrow" marker-end="url(#tip)" d="{way}"/>')
    return plain + thick


def _way(number: int, end: Slot, places: Mapping[tuple[int, int], Slot]) -> str:
    """The path from a step's box through its lanes to the left side of the box `end`."""
    x, y = places[number, 0].x + BOX_WIDTH, places[number, 0].middle
    way = f"M{x:g} {y:g}"
    distance = 1
    while (lane := places.get((number, distance))) and lane.x < end.x:
        way += f"{_curve(x, y, lane.x, lane.middle)}H{lane.x + BOX_WIDTH:g}"
        x, y, distance = lane.x + BOX_WIDTH, lane.middle, distance + 1
    return way + _curve(x, y, end.x - 5, end.middle)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = min((to_x - x) / 2, COLUMN_GAP)
    return f"C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"


def _box(step: Step, place: Slot, state: str, path: Sequence[int]) -> str:
    outline = (
        f'<rect class="outline" x="-5" y="-5" width="{BOX_WIDTH + 10}" height="{place.height + 10:g}" rx="13"/>'
        if step.step_number in path
        else ""
    )
    lines = [
        f'<text x="14" y="{FIRST_LINE + LINE_HEIGHT * index}">{_xml(line)}</text>'
        for index, line in enumerate(_wrapped(step.description))
    ]
    return (
        f'<g class="{state}" transform="translate({place.x:g} {place.y:g})">'
        f"<title>{_spoken(step, state)}</title>{outline}"
        f'<rect class="box" width="{BOX_WIDTH}" height="{place.height:g}" rx="9"/>'
        f'<text x="14" y="24"><tspan class="number">{step.step_number}</tspan>'
        f'<tspan class="quiet" dx="9">{model.spoken_hours(step.duration_hours)}</tspan></text>'
        f'<text class="state" x="{BOX_WIDTH - 32}" y="23" text-anchor="end">{state}</text>'
        f'<path class="sign" transform="translate({BOX_WIDTH - 25} 13.5)" d="{SIGNS[state]}"/>'
        f"{''.join(lines)}</g>"
    )


def _legend(y: float) -> str:
    """What the signs and outlines mean, in one line."""
    entries = []
    meanings = {"done": "done", "ready": "ready to begin", "blocked": "blocked: waits for a step before it"}
    x = float(MARGIN)
    for state, meaning in meanings.items():
        entries.append(
            f'<g class="{state}" transform="translate({x:g} {y:g})"><rect class="box" width="26" height="20" rx="4"/>'
            f'<path class="sign" transform="translate(7.5 5)" d="{SIGNS[state]}"/>'
            f'<text x="34" y="14.5">{meaning}</text></g>'
        )
        x += 34 + _width(meaning) * FONT_SIZE + 28
    entries.append(
        f'<g transform="translate({x:g} {y:g})"><rect class="outline" width="26" height="20" rx="6"/>'
        '<text x="34" y="14.5">critical path</text></g>'
    )
    return "".join(entries)


# What is said


def _states(steps: Sequence[Step]) -> dict[int, str]:
    blocked = set(model.blocked(steps))
    return {
        step.step_number: "done" if step.complete else "blocked" if step.step_number in blocked else "ready"
        for step in steps
    }


def _summary(steps: Sequence[Step], path: Sequence[int]) -> str:
    if not steps:
        return "No steps have been defined yet."
    done = sum(step.complete for step in steps)
    share = f"{done} of {len(steps)} steps done ({model.progress(steps):.0%})"
    return f"{share} · {model.spoken_hours(model.duration_hours(steps, path))} on the critical path"


def _description(steps: Sequence[Step], path: Sequence[int], states: Mapping[int, str]) -> str:
    if not steps:
        return _summary(steps, path)
    critical = f"Critical path: {', '.join(map(str, path))}."
    return " ".join(
        [f"{_summary(steps, path)}.", critical, *(_spoken(step, states[step.step_number]) for step in steps)]
    )


def _spoken(step: Step, state: str) -> str:
    """A step in one sentence, as XML text."""
    after = f", after {model.spoken(step.depends_on)}" if step.depends_on else ""
    line = " ".join(step.description.split())
    short = line if len(line) <= SPOKEN_LENGTH else line[: SPOKEN_LENGTH - 1].rstrip() + "…"
    return _xml(f"Step {step.step_number}, {state}, {model.spoken_hours(step.duration_hours)}{after}: {short}")


def _xml(text: str) -> str:
    """Text as XML may hold it: escaped, and what no XML document may contain replaced."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _wrapped(text: str) -> list[str]:
    """The text in at most `LINES` lines that fit a box, broken between words where that can be; the last one ends in
    an ellipsis where there is more."""
    lines, words = [""], text.split()
    while words:
        word = words.pop(0)
        longer = f"{lines[-1]} {word}".lstrip()
        if _fits(longer):
            lines[-1] = longer
        elif lines[-1]:
            lines.append("")
            words.insert(0, word)
        else:  # one word wider than the box
            head = _head(word)
            lines[-1] = head
            lines.append("")
            words.insert(0, word[len(head) :])
        if len(lines) > LINES:
            break
    if len(lines) > LINES:
        lines = lines[:LINES]
        last = lines[-1]
        while not _fits(last + "…"):
            last = last[:-1].rstrip()
        lines[-1] = last + "…"
    return lines


def _head(word: str) -> str:
    """As much of a long word as fits a line, and one character at least; marks stay with their letters."""
    end = 1
    while end < len(word) and (_fits(word[: end + 1]) or not _width(word[end])):
        end += 1
    return word[:end]


def _fits(text: str) -> bool:
    return _width(text) * FONT_SIZE <= TEXT_WIDTH


def _width(text: str) -> float:
    """How wide text is in a proportional typeface, in em, rather over- than underestimated."""
    return sum(_sign_width(sign) for sign in text)


def _sign_width(sign: str) -> float:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(sign) in ("W", "F"):
        return 1.05
    if sign in " iljtfI.,:;'|!()[]":
        return 0.4
    if sign in "mwMW@%<>+=~#&…—" or (not sign.isascii() and unicodedata.category(sign)[0] == "S"):
        return 1.0
    return 0.74 if sign.isupper() else 0.64
