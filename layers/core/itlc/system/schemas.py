"""What the system's own operations answer."""

from typing import Any, Literal

from pydantic import Field

from itlc.fields import IdInQuery, Moment, View
from itlc.paging import PageQuery

State = Literal["up", "away"]


class HealthView(View):
    """That the API answers at all."""

    status: Literal["ok"] = Field("ok", description="Always.")


class ReadinessView(View):
    """Whether everything that the API leans on can be reached just now."""

    status: Literal["ready", "not ready"] = Field(description="`ready` when all of them are up.")
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

    actor_id: IdInQuery | None = Field(None, description="Who did it.")
    object: str | None = Field(
        None, min_length=1, max_length=128, description="What it was done to.", examples=["order:12"]
    )


class AuditView(View):
    """A privileged or money-moving act."""

    id: str = Field(description="The database that recorded it, and its number there.", examples=["orders-12"])
    actor_id: int | None = Field(description="Who did it; null for the operator's command.")
    action: str = Field(description="The operation.", examples=["cancel_order"])
    object: str = Field(description="What it was done to.", examples=["order:12"])
    before: Any = Field(description="What changed, as it was.")
    after: Any = Field(description="What changed, as it became.")
    request_id: str | None
    created_at: Moment


class Finding(View):
    """What became of one invariant."""

    name: str = Field(description="What the invariant is called.", examples=["balance_is_sum_of_transfers"])
    says: str = Field(
        description="The invariant in one sentence.", examples=["A user's balance is the sum of the transfers."]
    )
    state: Literal["holds", "broken", "not checked"] = Field(description="What the check came to.")
    looked_at: int = Field(description="How many rows, documents or nodes it was checked on.")
    broken: int = Field(description="How many of them break it.")
    rows: list[str] = Field(
        description="Which ones: the first hundred, such as `order:12`.", max_length=100, examples=[["order:12"]]
    )
    remark: str | None = Field(description="Why it was not checked, or what was done about it; null for nothing.")


class ReconciliationView(View):
    """What a reconciliation of all stores found."""

    id: int
    started_at: Moment
    finished_at: Moment
    made_by: int | None = Field(description="The administrator who asked for it; null for the daily job.")
    broken: int = Field(description="How many invariants are broken.")
    not_checked: int = Field(description="How many could not be checked.")
    findings: list[Finding] = Field(description="One for each invariant.")
