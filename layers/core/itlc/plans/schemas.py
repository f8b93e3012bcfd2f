"""What goes into and comes out of the plans' operations."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema

from itlc.fields import Email, Input, Moment, Text, TextOrBlank, View
from itlc.paging import PageQuery
from itlc.plans.model import MAX_ADDRESSES, MAX_STEPS


def _number_of_a_step(number: int) -> int:
    if not 1 <= number <= MAX_STEPS:
        raise ValueError(f"there is no step {number}: steps are numbered from 1 to at most {MAX_STEPS}")
    return number


_STEP_NUMBER = WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_STEPS})

StepNumber = Annotated[int, AfterValidator(_number_of_a_step), _STEP_NUMBER]
Dependency = Annotated[int, _STEP_NUMBER]
"""A step's number, whichever: that the plan has no such step is said together with the step that depends on it."""
Hours = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False, description="How long it takes, in hours.")]
Personnel = Annotated[
    list[Email],
    Field(max_length=MAX_ADDRESSES, description="Addresses; whoever of them is a user is told what becomes of it."),
]
Dependencies = Annotated[
    list[Dependency],
    Field(max_length=MAX_STEPS, description="The numbers of the steps that have to be complete first."),
]


class StepInput(Input):
    """A step of a plan."""

    step_number: StepNumber = Field(description="Its place in the plan, from 1.")
    description: Text
    requirements: TextOrBlank
    notified_personnel: Personnel
    depends_on: Dependencies
    duration_hours: Hours = 1.0


PlanInput = Annotated[list[StepInput], Field(max_length=MAX_STEPS)]
"""A whole plan: its steps, in any order, numbered 1 to n."""


class AddStep(StepInput):
    """A step to insert at `step_number`, which moves the one there and those after it up by one. `depends_on` names
    the numbers as they were before."""


class ChangeStep(Input):
    """Any of a step's writable fields."""

    description: Text = Field(default="")
    requirements: TextOrBlank = Field(default="")
    notified_personnel: Personnel = Field(default=[])
    depends_on: Dependencies = Field(default=[])
    duration_hours: Hours = Field(default=1.0)


class StepView(View):
    """A step, as the order's customer and provider see it."""

    id: UUID
    order_id: int
    step_number: int = Field(description="Its place in the plan, from 1.")
    description: str = Field(description="What is done.")
    requirements: str = Field(description="What it needs; empty for nothing.")
    notified_personnel: list[str] = Field(description="E-mail addresses of those who are told of it.")
    depends_on: list[int] = Field(description="Step numbers, lowest first.")
    duration_hours: float = Field(description="How long it takes, in hours.")
    created_at: Moment
    completed_at: Moment | None = Field(description="null while the step is open.")


class StepQuery(PageQuery):
    """Which page of an order's steps."""


class PlanRevision(View):
    """Which state of an order's plan; the list's ETag is made of it."""

    order_id: int
    revision: int


class PlanView(View):
    """How an order's plan hangs together and how far it is. All numbers are step numbers."""

    progress: float = Field(ge=0, le=1, description="The share of steps that are complete.")
    ready: list[int] = Field(description="Open, with all dependencies complete.")
    blocked: list[int] = Field(description="Open, with a dependency that is not complete.")
    layers: list[list[int]] = Field(description="Steps by the length of the longest chain before them.")
    critical_path: list[int] = Field(description="The chain of steps that takes longest, done or not.")
    duration_hours: float = Field(description="How long the critical path takes.")
