"""What happens to orders: made from bids, moved by check-ins, cancelled; and how their projects stand by them.

Paying and refunding is the wallet's; it locks the orders here and moves them by the same rules (`orders.model`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, func

from itlc import audit, events
from itlc.access import Caller
from itlc.errors import Forbidden, NotFound
from itlc.notices import notice
from itlc.orders import model, repository
from itlc.orders.schemas import CancelOrder, CheckIn, CheckinView, OrderQuery, OrderView, ProjectOrderQuery
from itlc.paging import Found, PageQuery
from itlc.stores import outbox, postgres


def read_order(db: Connection, order_id: int, *, caller: Caller) -> OrderView:
    """One order of the caller's, as customer or provider. Raises NotFound."""
    return view(visible(repository.order(db, order_id), caller))


def list_orders(db: Connection, query: OrderQuery, *, caller: Caller) -> Found[OrderView]:
    """A page of the caller's orders, newest first."""
    return repository.orders_of_user(db, caller.id, query).map(view)


def list_project_orders(db: Connection, project_id: str, query: ProjectOrderQuery) -> Found[OrderView]:
    """A page of a project's orders, newest first. Whether the project is the caller's is for the view to ask
    (`projects.service.own_project`)."""
    return repository.orders_of_project(db, project_id, query).map(view)


def cancel_order(db: Connection, order_id: int, request: CancelOrder, *, caller: Caller) -> OrderView:
    """The order, cancelled; the other party is told (both, when an administrator does it).

    Raises NotFound when it is not the caller's, Conflict from completion on.
    """
    row = visible(repository.order_for_change(db, order_id), caller)
    status = model.after(row.status, "cancel")
    changed = repository.change_order(
        db,
        order_id,
        status=status,
        cancel_reason=request.reason,
        cancelled_by=caller.id,
        cancelled_at=func.clock_timestamp(),
    )
    refresh_progress(db, row.project_id)
    # The reason stays on the order: a notification outlives the person who wrote it.
    message = f"Order {order_id} was cancelled. The order says why."
    parties = (row.user_id, row.provider_user_id)
    outbox.emit(db, notice(f"order:{order_id}", message, users=parties, actor_id=caller.id))
    note_if_privileged(db, caller, parties, "cancel_order", row, changed)
    return view(changed)


def check_in(db: Connection, order_id: int, request: CheckIn, *, caller: Caller) -> CheckinView:
    """The new check-in; it moves the order, and its customer is told.

    Raises NotFound when the order is not the caller's, Forbidden for its customer, Conflict when the order does not
    take this check-in now.
    """
    row = visible(repository.order_for_change(db, order_id), caller)
    if not caller.is_one_of(row.provider_user_id):
        raise Forbidden("Only the order's provider checks in.")
    status = model.after_checkin(row.status, request.status)
    checkin = repository.add_checkin(db, order_id=order_id, status=request.status, note=request.note)
    changes: dict[str, Any] = {"status": status}
    if status == "completed":
        changes["completed_at"] = checkin.created_at
    changed = repository.change_order(db, order_id, **changes)
    if status != row.status:
        refresh_progress(db, row.project_id)
    message = f"Order {order_id}: {SPOKEN[request.status]}."
    told = (row.user_id, row.provider_user_id)  # the provider only where an administrator checked in for them
    outbox.emit(db, notice(f"order:{order_id}", message, users=told, actor_id=caller.id))
    note_if_privileged(db, caller, (row.provider_user_id,), "check_in", row, changed)
    return CheckinView.model_validate(checkin)


SPOKEN = {
    "started": "the work has started",
    "in_progress": "the work goes on",
    "blocked": "the work is blocked",
    "completed": "the work is completed",
}


def list_checkins(db: Connection, order_id: int, query: PageQuery, *, caller: Caller) -> Found[CheckinView]:
    """A page of an order's check-ins, oldest first. Raises NotFound when the order is not the caller's."""
    visible(repository.order(db, order_id), caller)
    return repository.checkins_of_order(db, order_id, query).map(CheckinView.model_validate)


def add_order(db: Connection, **fields: Any) -> OrderView:
    """The new order that a bid became (`bids.service.take_bid` decides), with its project's progress."""
    row = repository.add_order(db, **fields)
    refresh_progress(db, row.project_id)
    return view(row)


def refresh_progress(db: Connection, project_id: str | None) -> None:
    """Count up how the project stands by its orders, in the transaction that changed one of them (whose rows it has
    locked), and emit an event when its status changed. Nothing to do for an order without a project.

    The progress row is locked before the orders are counted, so of two transactions at once the later counts what
    the earlier did. A transaction that refreshes several projects does so in the order of their ids.
    """
    if project_id is not None:
        refresh_all_progress(db, {project_id})


def refresh_all_progress(db: Connection, project_ids: Collection[str]) -> None:
    """Count up how each of these projects stands, as `refresh_progress` does, in as many statements for all of them as
    for one."""
    before = {row.project_id: row.status for row in repository.all_progress_for_change(db, list(project_ids))}
    orders = repository.statuses_of_projects(db, list(before))
    statuses = {project_id: model.project_status(orders.get(project_id, ())) for project_id in before}
    changed = {project_id: status for project_id, status in statuses.items() if status != before[project_id]}
    if not changed:
        return
    versions = repository.change_all_progress(db, changed)
    outbox.emit_all(db, [_progress(project_id, changed[project_id], versions[project_id]) for project_id in changed])


def _progress(project_id: str, status: str, version: int) -> events.Event:
    payload = {"project_id": project_id, "status": status}
    return events.event("projects", "progress", f"project:{project_id}", payload, version=version)


@dataclass(frozen=True)
class OrderFacts:
    """What other domains need to know of an order."""

    id: int
    user_id: int
    provider_user_id: int
    service_id: int
    project_id: str | None
    amount: Decimal
    status: model.Status


def order_for(order_id: int) -> OrderFacts:
    """An order for another domain, which decides who may see it. Opens `itlc_orders` itself. Raises NotFound."""
    with postgres.orders.read() as db:
        row = there(repository.order(db, order_id))
    return facts(row)


def facts(row: Row[Any]) -> OrderFacts:
    """An order's row as other domains know it."""
    return OrderFacts(row.id, row.user_id, row.provider_user_id, row.service_id, row.project_id, row.amount, row.status)


def bought(user_id: int, service_id: int) -> bool:
    """Whether the user has an order of the service that is completed or further. Opens `itlc_orders` itself."""
    with postgres.orders.read() as db:
        return repository.has_order_of(db, user_id, service_id, model.BOUGHT)


def view(row: Row[Any]) -> OrderView:
    """An order's row as it is answered."""
    return OrderView.model_validate(row)


def there(row: Row[Any] | None) -> Row[Any]:
    """The order's row. Raises NotFound where there is none."""
    if row is None:
        raise NotFound("There is no such order.")
    return row


def visible(row: Row[Any] | None, caller: Caller) -> Row[Any]:
    """The order's row. Raises NotFound where there is none, or where the caller is neither party nor administrator."""
    row = there(row)
    caller.must_see("order", row.user_id, row.provider_user_id)
    return row


def note_if_privileged(
    db: Connection, caller: Caller, entitled: tuple[int, ...], action: str, before: Row[Any], after: Row[Any]
) -> None:
    """Audit a change of an order that an administrator made in the place of those entitled to it."""
    if caller.user_id not in entitled:
        audit.record(
            db,
            caller.user_id,
            action,
            f"order:{before.id}",
            before={"status": before.status},
            after={"status": after.status},
        )
