"""A plan as a Mermaid flowchart (`text/vnd.mermaid`)."""

from collections.abc import Sequence
from itertools import pairwise
from unicodedata import category

from itlc.plans import model
from itlc.plans.model import Step

LABEL_LENGTH = 60

STYLES = {
    "done": "fill:#d9efdf,stroke:#2f7d4f,color:#12301f",
    "ready": "fill:#ffffff,stroke:#1f5fbf,color:#14233b,stroke-width:2px",
    "blocked": "fill:#f1f2f4,stroke:#6b7280,color:#2b313b,stroke-dasharray:5 4",
}


def flowchart(order_id: int, steps: Sequence[Step]) -> str:
    """The plan's source: a node for each step, with its number, state and description; the critical path's arrows
    are thick. `steps` is the whole plan, by step number."""
    blocked, path = set(model.blocked(steps)), model.critical_path(steps)
    critical = set(pairwise(path))
    lines = ["---", f"title: Plan of order {order_id}", "---", "flowchart LR"]
    for step in steps:
        state = "done" if step.complete else "blocked" if step.step_number in blocked else "ready"
        lines.append(
            f'  s{step.step_number}["Step {step.step_number}, {state}, {model.spoken_hours(step.duration_hours)}'
            f'<br/>{_label(step.description)}"]:::{state}'
        )
    for step in steps:
        for number in step.depends_on:
            arrow = "==>" if (number, step.step_number) in critical else "-->"
            lines.append(f"  s{number} {arrow} s{step.step_number}")
    lines += [f"  classDef {state} {style}" for state, style in STYLES.items()]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """Text for a quoted label: on one line, shortened, and everything but letters, digits and spaces as a numeric
    entity, so that no quote, bracket, markup, list or keyword of Mermaid's is read out of it."""
    line = " ".join(text.split())
    short = line if len(line) <= LABEL_LENGTH else line[: LABEL_LENGTH - 1].rstrip() + "…"
    return "".join(sign if sign == " " or category(sign)[0] in "LMN" else f"#{ord(sign)};" for sign in short)
