"""A plan as the caller wants to see it: as JSON, as a picture, or as the picture's source."""

from collections.abc import Sequence

from itlc.answers import Reply
from itlc.plans.flowchart import flowchart
from itlc.plans.model import Step
from itlc.plans.picture import picture
from itlc.plans.service import summary

SVG, MERMAID = "image/svg+xml", "text/vnd.mermaid"


def present(order_id: int, steps: Sequence[Step], content_type: str) -> Reply:
    """The plan in that content type. `steps` is the whole plan, by step number."""
    varies = {"Vary": "Accept"}
    if content_type == SVG:
        # opened by itself in a browser, the picture may style itself and nothing else
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Reply(picture(order_id, steps), headers={"Content-Type": SVG, **policy, **varies})
    if content_type == MERMAID:
        return Reply(flowchart(order_id, steps), headers={"Content-Type": f"{MERMAID}; charset=utf-8", **varies})
    return Reply(summary(steps), headers=varies)
