"""The rules of a plan: how its steps are numbered, what they wait for, how far it is. No I/O.

A plan is the steps of one order, numbered 1 to n. A step depends on others by their numbers; when a step is
inserted or removed the numbers move, and the dependencies with them.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from itlc.errors import Conflict, FieldError, Invalid, invalid

MAX_STEPS = 500
MAX_ADDRESSES = 100
"""The most addresses that one step may notify."""
MAX_DEPENDENCIES = 5_000
"""The most dependencies that a plan may have, ten for each step."""
MAX_ADDRESS_BYTES = 200_000
"""The most bytes that all different addresses of a plan may take in JSON: one message tells them all, and a queue
takes messages of up to 256 KiB."""

PLANNABLE = ("created", "in_progress")
"""The order's states in which its plan may change."""


@dataclass(frozen=True)
class Step:
    """One step of an order's plan, as it is kept. `depends_on` holds step numbers, lowest first."""

    id: str
    order_id: int
    step_number: int
    description: str
    requirements: str
    notified_personnel: tuple[str, ...]
    depends_on: tuple[int, ...]
    duration_hours: float
    created_at: datetime
    completed_at: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether the step is done."""
        return self.completed_at is not None


class Outline(Protocol):
    """What a plan is judged by: a step that is kept, or one that is asked for."""

    @property
    def step_number(self) -> int:
        """The step's number."""

    @property
    def depends_on(self) -> Sequence[int]:
        """The numbers of the steps that have to be complete first."""

    @property
    def notified_personnel(self) -> Sequence[str]:
        """The addresses of those who are told of it."""


# What a plan must be


def check_plan(steps: Sequence[Outline]) -> None:
    """Raise Invalid unless the steps are numbered 1 to n, each once, depend on steps of this plan only, and on none
    of those that depend on them. The errors name the steps; their fields are paths into the list (`2.depends_on`)."""
    errors = _number_errors(steps) or _dependency_errors(steps)
    if not errors and (cycle := cycle_in({step.step_number: step.depends_on for step in steps})):
        position = {step.step_number: index for index, step in enumerate(steps)}
        errors = [FieldError(f"{position[cycle[0]]}.depends_on", _cycle_message(cycle))]
    if errors:
        raise Invalid("; ".join(f"{error.field}: {error.message}" for error in errors[:5]), *errors[:50])


def check_dependencies(depends_on: Sequence[int], steps: Sequence[Step], step_number: int | None = None) -> None:
    """Raise Invalid for the field `depends_on` unless the step of that number, or a new one (None), may depend on
    these of the plan's `steps`."""
    if wrong := _wrong_dependencies(depends_on, {step.step_number for step in steps}):
        raise invalid("depends_on", wrong)
    if step_number is not None:
        all_dependencies = {step.step_number: step.depends_on for step in steps}
        if cycle := cycle_in({**all_dependencies, step_number: tuple(depends_on)}):
            raise invalid("depends_on", _cycle_message(cycle))


def check_size(steps: Sequence[Outline]) -> None:
    """Raise Invalid when the steps have more dependencies than a plan may have, or name more different addresses than
    one message can carry."""
    dependencies = sum(len(step.depends_on) for step in steps)
    if dependencies > MAX_DEPENDENCIES:
        raise invalid(
            "depends_on", f"the plan has {dependencies:,} dependencies, at most {MAX_DEPENDENCIES:,} are accepted"
        )
    size = len(json.dumps(sorted({address.lower() for step in steps for address in step.notified_personnel})))
    if size > MAX_ADDRESS_BYTES:
        raise invalid(
            "notified_personnel",
            f"the different addresses of the plan take {size:,} bytes together, at most {MAX_ADDRESS_BYTES:,} are "
            "accepted: name fewer",
        )


def _number_errors(steps: Sequence[Outline]) -> list[FieldError]:
    errors, seen = [], set()
    for index, step in enumerate(steps):
        if step.step_number in seen:
            errors.append(FieldError(f"{index}.step_number", f"step {step.step_number} is there already"))
        seen.add(step.step_number)
    highest = max(seen, default=0)
    if missing := [number for number in range(1, highest + 1) if number not in seen]:
        index = next(index for index, step in enumerate(steps) if step.step_number > missing[0])
        errors.append(
            FieldError(f"{index}.step_number", f"steps are numbered without a gap; missing before: {spoken(missing)}")
        )
    return errors


def _dependency_errors(steps: Sequence[Outline]) -> list[FieldError]:
    known = {step.step_number for step in steps}
    return [
        FieldError(f"{index}.depends_on", f"step {step.step_number} {wrong}")
        for index, step in enumerate(steps)
        if (wrong := _wrong_dependencies(step.depends_on, known))
    ]


def _wrong_dependencies(depends_on: Sequence[int], known: Collection[int]) -> str | None:
    if unknown := sorted(set(depends_on) - set(known)):
        return f"depends on {spoken(unknown)}, which the plan does not have"
    if repeated := sorted({number for number in depends_on if depends_on.count(number) > 1}):
        return f"depends on {spoken(repeated)} more than once"
    return None


def _cycle_message(cycle: Sequence[int]) -> str:
    if len(cycle) == 1:
        return f"step {cycle[0]} depends on itself"
    return f"the steps depend on each other in a cycle: {' → '.join(map(str, [*cycle, cycle[0]]))}"


def cycle_in(depends_on: Mapping[int, Collection[int]]) -> list[int]:
    """The step numbers of one cycle, each followed by one that it depends on, beginning with its lowest; an empty
    list when there is none. Every dependency is a key of the mapping too."""
    open_dependencies = {number: set(dependencies) for number, dependencies in depends_on.items()}
    dependents = _dependents(depends_on)
    free = [number for number, dependencies in open_dependencies.items() if not dependencies]
    while free:
        number = free.pop()
        del open_dependencies[number]
        for dependent in dependents[number]:
            open_dependencies[dependent].discard(number)
            if not open_dependencies[dependent]:
                free.append(dependent)
    if not open_dependencies:
        return []
    # Whatever is left waits for something that is left: following it long enough runs in a circle.
    walk = [min(open_dependencies)]
    while (following := min(open_dependencies[walk[-1]])) not in walk:
        walk.append(following)
    cycle = walk[walk.index(following) :]
    lowest = cycle.index(min(cycle))
    return cycle[lowest:] + cycle[:lowest]


# What a plan says (its steps are as `check_plan` wants them)


def layers(steps: Sequence[Outline]) -> list[list[int]]:
    """The step numbers by layer, lowest first: a step's layer is the length of the longest chain before it."""
    layer: dict[int, int] = {}
    for step in _in_order(steps):
        layer[step.step_number] = 1 + max((layer[number] for number in step.depends_on), default=-1)
    columns: list[list[int]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for number in sorted(layer):
        columns[layer[number]].append(number)
    return columns


def critical_path(steps: Sequence[Step]) -> list[int]:
    """The step numbers of the chain that takes longest, first step first. Of several that take equally long it is
    the one with the lower number where they first differ."""
    by_number = {step.step_number: step for step in steps}
    dependents = _dependents({step.step_number: step.depends_on for step in steps})
    left: dict[int, Decimal] = {}  # hours from the step's beginning to the end of the longest chain after it
    for step in reversed(_in_order(steps)):
        after = max((left[number] for number in dependents[step.step_number]), default=Decimal(0))
        left[step.step_number] = _hours(by_number[step.step_number]) + after
    path: list[int] = []
    following: Collection[int] = left
    while following:
        longest = max(left[number] for number in following)
        path.append(min(number for number in following if left[number] == longest))
        following = dependents[path[-1]]
    return path


def duration_hours(steps: Sequence[Step], path: Collection[int]) -> float:
    """How long the steps of `path` take together, in hours; decimal, so that 0.1 and 0.2 are 0.3."""
    return float(sum((_hours(step) for step in steps if step.step_number in path), Decimal(0)))


def progress(steps: Sequence[Step]) -> float:
    """The share of steps that are complete, 0 to 1; 0 for a plan without steps."""
    return sum(step.complete for step in steps) / len(steps) if steps else 0.0


def ready(steps: Sequence[Step]) -> list[int]:
    """The open steps all of whose dependencies are complete."""
    return [step.step_number for step in steps if not step.complete and not open_dependencies(step, steps)]


def blocked(steps: Sequence[Step]) -> list[int]:
    """The open steps that wait for another."""
    return [step.step_number for step in steps if not step.complete and open_dependencies(step, steps)]


def open_dependencies(step: Step, steps: Sequence[Step]) -> list[int]:
    """The numbers of the steps that `step` still waits for. `steps` is the whole plan, by step number."""
    return [number for number in step.depends_on if not steps[number - 1].complete]


def made_ready(step_number: int, steps: Sequence[Step]) -> list[Step]:
    """The steps that become ready by completing this one. `steps` is the whole plan before, by step number."""
    return [
        step
        for step in steps
        if not step.complete and step_number in step.depends_on and open_dependencies(step, steps) == [step_number]
    ]


# How a plan changes


def number_after_insertion(number: int, inserted: int) -> int:
    """What step `number` is called once a step was inserted at `inserted`."""
    return number + 1 if number >= inserted else number


def check_plannable(status: str) -> None:
    """Raise Conflict unless the plan of an order with this status may change."""
    if status not in PLANNABLE:
        raise Conflict(f"The order is {status}: its plan changes only while it is created or in progress.")


def check_workable(status: str) -> None:
    """Raise Conflict unless steps of an order with this status may be completed."""
    if status != "in_progress":
        raise Conflict(
            f"The order is {status.replace('_', ' ')}: its steps are completed while it is in progress"
            + (", which begins with the check-in `started`." if status == "created" else ".")
        )


def check_replaceable(steps: Sequence[Step]) -> None:
    """Raise Conflict when a step is complete: then the plan is no longer replaced as a whole."""
    if done := [step.step_number for step in steps if step.complete]:
        raise Conflict(f"Complete already: {spoken(done)}. Add, change or remove single steps instead.")


def check_room(steps: Sequence[Step], step_number: int) -> None:
    """Raise Invalid when a step cannot be inserted at that number, Conflict when the plan is full."""
    if len(steps) >= MAX_STEPS:
        raise Conflict(f"The plan has {MAX_STEPS} steps, which is the most that it may have.")
    if step_number > len(steps) + 1:
        raise invalid("step_number", f"steps are numbered without a gap: the next one is {len(steps) + 1}")


def check_open(step: Step) -> None:
    """Raise Conflict when the step is complete: it is then neither changed, removed nor completed again."""
    if step.complete:
        raise Conflict(f"Step {step.step_number} is complete: it can no longer be changed, removed or completed.")


def check_removable(step: Step, steps: Sequence[Step]) -> None:
    """Raise Conflict, naming them, when other steps depend on this one."""
    if dependents := [other.step_number for other in steps if step.step_number in other.depends_on]:
        raise Conflict(f"Step {step.step_number} is a dependency of {spoken(dependents)}: change that first.")


def check_completable(step: Step, steps: Sequence[Step]) -> None:
    """Raise Conflict when the step is complete already, or, naming them, waits for others."""
    check_open(step)
    if waiting := open_dependencies(step, steps):
        raise Conflict(f"Before step {step.step_number} there is still to be completed: {spoken(waiting)}.")


def spoken(numbers: Sequence[int]) -> str:
    """Step numbers as one says them: `step 2`, `steps 2, 3 and 5`; of many, the first ten."""
    if len(numbers) == 1:
        return f"step {numbers[0]}"
    if len(numbers) > 10:
        return f"steps {', '.join(map(str, numbers[:10]))} and {len(numbers) - 10} more"
    return f"steps {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def spoken_hours(hours: float) -> str:
    """A duration as one says it, to two places: `1,200 h`, `2.5 h`, `under 0.01 h`."""
    return f"{hours:,.2f}".rstrip("0").rstrip(".") + " h" if hours >= 0.01 else "under 0.01 h"


def _dependents(depends_on: Mapping[int, Collection[int]]) -> dict[int, list[int]]:
    dependents: dict[int, list[int]] = {number: [] for number in depends_on}
    for number, dependencies in depends_on.items():
        for dependency in set(dependencies):
            dependents[dependency].append(number)
    return dependents


def _in_order(steps: Sequence[Outline]) -> list[Outline]:
    """The steps in an order in which each comes after those that it depends on."""
    by_number = {step.step_number: step for step in steps}
    dependents = _dependents({step.step_number: step.depends_on for step in steps})
    waits_for = {step.step_number: len(set(step.depends_on)) for step in steps}
    order = [number for number, count in waits_for.items() if not count]
    for number in order:  # which grows while it is walked through
        for dependent in dependents[number]:
            waits_for[dependent] -= 1
            if not waits_for[dependent]:
                order.append(dependent)
    return [by_number[number] for number in order]


def _hours(step: Step) -> Decimal:
    return Decimal(repr(step.duration_hours))
