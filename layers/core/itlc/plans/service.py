"""What happens to an order's plan: laid down, changed step by step, completed step by step.

Who customer and provider are is asked of the orders before the graph's transaction (`order_of_party`,
`order_of_provider`); what changes the plan locks it first, reads it, judges it by `model`, and writes.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict
from uuid import UUID, uuid4

from itlc.access import Caller
from itlc.answers import Reply
from itlc.audit_events import if_privileged
from itlc.errors import Forbidden, NotFound
from itlc.notices import notice
from itlc.orders.service import OrderFacts, order_for
from itlc.paging import Found, cut
from itlc.plans import model, repository
from itlc.plans.model import Step
from itlc.plans.schemas import AddStep, ChangeStep, PlanRevision, PlanView, StepInput, StepQuery, StepView
from itlc.preconditions import IfMatch, etag
from itlc.stores.neo4j import GraphTransaction, graph


def order_of_party(order_id: int, caller: Caller) -> OrderFacts:
    """The order, for its customer and its provider. Opens `itlc_orders` itself. Raises NotFound for others."""
    order = order_for(order_id)
    caller.must_see("order", order.user_id, order.provider_user_id)
    return order


def order_of_provider(order_id: int, caller: Caller) -> OrderFacts:
    """The order, for its provider. Opens `itlc_orders` itself. Raises NotFound for strangers, Forbidden for its
    customer."""
    order = order_of_party(order_id, caller)
    if not caller.is_one_of(order.provider_user_id):
        raise Forbidden("Only the order's provider plans its steps and completes them.")
    return order


def define_plan(
    db: GraphTransaction, order: OrderFacts, request: Sequence[StepInput], *, caller: Caller, if_match: IfMatch
) -> Reply:
    """The new plan's steps (`StepView`) by number, in the place of whatever plan there was; customer and personnel
    are told. The ETag is the list's.

    Raises Invalid when the steps are no plan, Conflict when the order's state or a complete step forbids it,
    PreconditionFailed.
    """
    model.check_plan(request)
    model.check_size(request)
    model.check_plannable(order.status)
    revision = repository.lock(db, order.id)
    if_match.check(PlanRevision(order_id=order.id, revision=revision - 1))
    before = repository.steps_of(db, order.id)
    model.check_replaceable(before)
    now = datetime.now(UTC)
    steps = [_new_step(order.id, step, now) for step in sorted(request, key=lambda step: step.step_number)]
    repository.replace_steps(db, order.id, steps)
    _note_if_privileged(db, order, caller, "define_plan", before={"steps": len(before)}, after={"steps": len(steps)})
    if steps:
        count = "1 step" if len(steps) == 1 else f"{len(steps)} steps"
        _tell(db, order, f"Order {order.id} has a new plan of {count}.", steps, caller)
    return Reply([view(step) for step in steps], headers={"ETag": _list_etag(order.id, revision)})


def add_step(db: GraphTransaction, order: OrderFacts, request: AddStep, *, caller: Caller) -> StepView:
    """The new step; the one at its number and those after it have moved up by one; customer and personnel are told.

    Raises Invalid when its number leaves a gap or a dependency is unknown, Conflict when the order's state forbids it
    or the plan is full.
    """
    steps = _plan_to_change(db, order)
    model.check_room(steps, request.step_number)
    model.check_dependencies(request.depends_on, steps)
    model.check_size([*steps, request])
    moved = tuple(model.number_after_insertion(number, request.step_number) for number in sorted(request.depends_on))
    new = replace(_new_step(order.id, request, datetime.now(UTC)), depends_on=moved)
    repository.insert_step(db, new, _ids(steps, request.depends_on))
    _tell(db, order, f"Order {order.id}: step {new.step_number} was added to the plan.", [new], caller)
    _note_if_privileged(db, order, caller, "add_step", after=_named(new))
    return view(new)


def change_step(
    db: GraphTransaction, order: OrderFacts, step_id: UUID, request: ChangeStep, *, caller: Caller, if_match: IfMatch
) -> StepView:
    """The step after the change.

    Raises NotFound, PreconditionFailed, Conflict when it is complete or the order's state forbids it, Invalid when a
    dependency is unknown or leads back to the step.
    """
    steps = _plan_to_change(db, order)
    step = _find(steps, step_id)
    if_match.check(view(step))
    model.check_open(step)
    changed = replace(step, **_changes(request))
    model.check_dependencies(changed.depends_on, steps, step.step_number)
    model.check_size([changed if other is step else other for other in steps])
    if changed.depends_on != step.depends_on:
        repository.change_dependencies(db, step.id, _ids(steps, changed.depends_on))
    repository.change_step(db, changed)
    if request.model_fields_set:
        after = {"changed": sorted(request.model_fields_set)}
        _note_if_privileged(db, order, caller, "change_step", before=_named(step), after=after)
    return view(changed)


def remove_step(db: GraphTransaction, order: OrderFacts, step_id: UUID, *, caller: Caller, if_match: IfMatch) -> None:
    """Remove the step; those after it move down by one.

    Raises NotFound, PreconditionFailed, Conflict when it is complete, when others depend on it, or when the order's
    state forbids it.
    """
    steps = _plan_to_change(db, order)
    step = _find(steps, step_id)
    if_match.check(view(step))
    model.check_open(step)
    model.check_removable(step, steps)
    repository.remove_step(db, step)
    _note_if_privileged(db, order, caller, "remove_step", before=_named(step))


def complete_step(db: GraphTransaction, order: OrderFacts, step_id: UUID, *, caller: Caller) -> StepView:
    """The step, complete; customer, its personnel and that of the steps that can begin now are told.

    Raises NotFound, Conflict when it is complete already, when a dependency is open, or unless the order is in
    progress.
    """
    model.check_workable(order.status)
    repository.lock(db, order.id)
    steps = repository.steps_of(db, order.id)
    step = _find(steps, step_id)
    model.check_completable(step, steps)
    complete = replace(step, completed_at=datetime.now(UTC))
    repository.change_step(db, complete)
    next_steps = model.made_ready(step.step_number, steps)
    message = f"Order {order.id}: step {step.step_number} is complete."
    if next_steps:
        message += f" Ready to begin: {model.spoken([after.step_number for after in next_steps])}."
    _tell(db, order, message, [step, *next_steps], caller)
    _note_if_privileged(db, order, caller, "complete_step", before=_named(step), after={"complete": True})
    return view(complete)


def list_steps(db: GraphTransaction, order: OrderFacts, query: StepQuery) -> Reply:
    """A page of the order's steps, by step number. The ETag is that of the plan as a whole."""
    after = None if query.after is None else (query.after[0], query.after[1])
    revision = repository.hold(db, order.id)
    steps = repository.page_of_steps(db, order.id, after=after, limit=query.limit + 1) if revision else []
    page: Found[Step] = cut(steps, query, lambda step: (step.step_number, step.id))
    return Reply(page.map(view), headers={"ETag": _list_etag(order.id, revision)})


def read_step(db: GraphTransaction, order: OrderFacts, step_id: UUID) -> StepView:
    """One step. Raises NotFound."""
    found = repository.step(db, order.id, str(step_id)) if repository.hold(db, order.id) else None
    return view(_there(found))


def plan_of(db: GraphTransaction, order_id: int) -> list[Step]:
    """The order's whole plan, by step number; no steps where there is none."""
    return repository.steps_of(db, order_id) if repository.hold(db, order_id) else []


class StepEvent(TypedDict):
    """Something that happened to a step, for an order's timeline."""

    kind: Literal["step_defined", "step_completed"]
    step_id: str
    step_number: int
    at: datetime


def step_events(order_id: int) -> list[StepEvent]:
    """When each step of the order's present plan was defined and completed, oldest first. Opens Neo4j itself."""
    events: list[StepEvent] = []
    for step in graph.locked_read(lambda db: plan_of(db, order_id)):
        moments: dict[Literal["step_defined", "step_completed"], datetime | None]
        moments = {"step_defined": step.created_at, "step_completed": step.completed_at}
        events += [
            StepEvent(kind=kind, step_id=step.id, step_number=step.step_number, at=at)
            for kind, at in moments.items()
            if at is not None
        ]
    return sorted(events, key=lambda event: event["at"])


def view(step: Step) -> StepView:
    """A step as it is answered."""
    return StepView.model_validate(step)


def summary(steps: Sequence[Step]) -> PlanView:
    """How a plan hangs together and how far it is."""
    path = model.critical_path(steps)
    return PlanView(
        progress=model.progress(steps),
        ready=model.ready(steps),
        blocked=model.blocked(steps),
        layers=model.layers(steps),
        critical_path=path,
        duration_hours=model.duration_hours(steps, path),
    )


def _plan_to_change(db: GraphTransaction, order: OrderFacts) -> list[Step]:
    """The locked plan's steps. Raises Conflict when the order's state forbids changes."""
    model.check_plannable(order.status)
    repository.lock(db, order.id)
    return repository.steps_of(db, order.id)


def _new_step(order_id: int, request: StepInput, now: datetime) -> Step:
    fields = request.model_dump()
    lists = {"notified_personnel": tuple(request.notified_personnel), "depends_on": tuple(sorted(request.depends_on))}
    return Step(id=str(uuid4()), order_id=order_id, created_at=now, **(fields | lists))


def _changes(request: ChangeStep) -> dict[str, Any]:
    changes = request.model_dump(exclude_unset=True)
    if "notified_personnel" in changes:
        changes["notified_personnel"] = tuple(request.notified_personnel)
    if "depends_on" in changes:
        changes["depends_on"] = tuple(sorted(request.depends_on))
    return changes


def _find(steps: Sequence[Step], step_id: UUID) -> Step:
    return _there(next((step for step in steps if step.id == str(step_id)), None))


def _there(step: Step | None) -> Step:
    if step is None:
        raise NotFound("There is no such step.")
    return step


def _ids(steps: Sequence[Step], numbers: Sequence[int]) -> list[str]:
    return [steps[number - 1].id for number in numbers]


def _list_etag(order_id: int, revision: int) -> str:
    return etag(PlanRevision(order_id=order_id, revision=revision))


def _named(step: Step) -> dict[str, Any]:
    """What the audit keeps of a step: which it is and whether it is done, none of its texts and addresses."""
    return {"step_id": step.id, "step_number": step.step_number, "complete": step.complete}


def _note_if_privileged(
    db: GraphTransaction,
    order: OrderFacts,
    caller: Caller,
    action: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Have a change of the plan that an administrator made in the provider's place put on record."""
    about = f"order:{order.id}"
    for record in if_privileged(caller, order.provider_user_id, action, about, before=before, after=after):
        db.emit(record)


def _tell(db: GraphTransaction, order: OrderFacts, message: str, steps: Sequence[Step], caller: Caller) -> None:
    """Tell the customer and the personnel of these steps, each once, in the words of one message."""
    emails = [address for step in steps for address in step.notified_personnel]
    db.emit(notice(f"order:{order.id}", message, users=[order.user_id], emails=emails, actor_id=caller.id))
