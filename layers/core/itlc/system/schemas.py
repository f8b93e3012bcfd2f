"""What the system's own operations answer."""

from typing import Any, Literal

from pydantic import Field

from itlc.fields import MAX_ID, Moment, View
from itlc.paging import PageQuery

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


class AuditQuery(PageQuery):
    """Which acts."""

    actor_id: int | None = Field(None, ge=1, le=MAX_ID, description="Who did it.")
    object: str | None = Field(
        None, min_length=1, max_length=128, description="What it was done to.", examples=["order:12"]
    )


class AuditView(View):
    """A privileged or money-moving act."""

    id: str = Field(description="The database that recorded it, and its number there.", examples=["orders-12"])
    actor_id: int | None = Field(description="Who did it; null for the operator's command.")
    action: str = Field(description="The operation.", examples=["cancel_order"])
    object: str = Field(examples=["order:12"])
    before: Any = Field(description="What changed, as it was.")
    after: Any = Field(description="What changed, as it became.")
    request_id: str | None
    created_at: Moment
