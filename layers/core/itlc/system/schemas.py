"""What the system's own operations answer."""

from typing import Literal

from pydantic import Field

from itlc.fields import View

State = Literal["up", "away"]


class HealthView(View):
    """That the API answers at all."""

    status: Literal["ok"] = "ok"


class ReadinessView(View):
    """Whether everything that the API leans on can be reached just now."""

    status: Literal["ready", "not ready"]
    stores: dict[str, State] = Field(
        description="The seven stores by name.",
        examples=[
            {
                "itlc_users": "up",
                "itlc_api": "up",
                "itlc_orders": "up",
                "itlc_tokens": "up",
                "itlc_templates": "up",
                "itlc_pbfr": "up",
                "neo4j": "up",
            }
        ],
    )
    queues: dict[str, State] = Field(description="The queues by name.", examples=[{"notifications": "up"}])
