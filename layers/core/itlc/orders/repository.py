"""The orders' queries.

Rows are locked `FOR NO KEY UPDATE`: a bid before its order, orders in the order of their ids, a project's progress
last. Whoever locks in that order never waits in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Integer,
    Row,
    String,
    any_,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from itlc.orders.model import Status
from itlc.orders.schemas import OrderQuery, ProjectOrderQuery
from itlc.orders.tables import checkins, closed_accounts, closed_projects, orders, project_progress
from itlc.paging import Found, PageQuery, cut
from itlc.stores.keyset import keyset

NEWEST = (orders.c.created_at, orders.c.id)
Place = tuple[datetime, int]
"""Where an order stands among the others: when it was made, and its id."""


def add_order(db: Connection, **fields: Any) -> Row[Any]:
    """The new order, `created`."""
    return db.execute(insert(orders).values(**fields).returning(orders)).one()


def order(db: Connection, order_id: int) -> Row[Any] | None:
    """One order, or None."""
    return db.execute(select(orders).where(orders.c.id == order_id)).one_or_none()


def order_for_change(db: Connection, order_id: int) -> Row[Any] | None:
    """One order, locked until the transaction ends, or None."""
    return db.execute(select(orders).where(orders.c.id == order_id).with_for_update(key_share=True)).one_or_none()


def orders_for_change(db: Connection, order_ids: Iterable[int]) -> Sequence[Row[Any]]:
    """These orders, locked until the transaction ends, by id."""
    chosen = select(orders).where(orders.c.id.in_(list(order_ids)))
    return db.execute(chosen.order_by(orders.c.id).with_for_update(key_share=True)).all()


def orders_of_project_for_change(db: Connection, project_id: str) -> Sequence[Row[Any]]:
    """All orders of a project, locked until the transaction ends, by id."""
    chosen = select(orders).where(orders.c.project_id == project_id)
    return db.execute(chosen.order_by(orders.c.id).with_for_update(key_share=True)).all()


def change_order(db: Connection, order_id: int, **changes: Any) -> Row[Any]:
    """The order as it is after the change. Times of what happened to a locked row come from `clock_timestamp()`: the
    transaction may have begun before an earlier change."""
    change = update(orders).where(orders.c.id == order_id).values(**changes, updated_at=func.clock_timestamp())
    return db.execute(change.returning(orders)).one()


def change_orders(db: Connection, order_ids: Sequence[int], **changes: Any) -> None:
    """Change each of these orders, which are locked, in the same way; see `change_order`."""
    these = update(orders).where(orders.c.id == _any_id(order_ids))
    db.execute(these.values(**changes, updated_at=func.clock_timestamp()))


def orders_of_user(db: Connection, user_id: int, query: OrderQuery) -> Found[Row[Any]]:
    """A page of the orders in which the user has the role (both when it names none), newest first.

    Each role is one index, walked from the page's position; nobody has both roles in one order.
    """
    roles = {"customer": orders.c.user_id == user_id, "provider": orders.c.provider_user_id == user_id}
    parts = []
    for role, is_theirs in roles.items():
        if query.role in (None, role):
            part = select(orders).where(is_theirs)
            if query.status is not None:
                part = part.where(orders.c.status == query.status)
            parts.append(keyset(part, NEWEST, query).subquery(role))
    either = union_all(*(select(part) for part in parts)).subquery()
    newest = select(either).order_by(either.c.created_at.desc(), either.c.id.desc()).limit(query.limit + 1)
    return cut(db.execute(newest).all(), query, lambda row: (row.created_at, row.id))


def orders_of_project(db: Connection, project_id: str, query: ProjectOrderQuery) -> Found[Row[Any]]:
    """A page of a project's orders, newest first."""
    statement = select(orders).where(orders.c.project_id == project_id)
    if query.status is not None:
        statement = statement.where(orders.c.status == query.status)
    rows = db.execute(keyset(statement, NEWEST, query)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))


def has_order_of(db: Connection, user_id: int, service_id: int, statuses: Iterable[Status]) -> bool:
    """Whether the user has an order of the service in one of these states."""
    found = exists().where(
        orders.c.user_id == user_id, orders.c.service_id == service_id, orders.c.status.in_(list(statuses))
    )
    return bool(db.execute(select(found)).scalar_one())


def project_has_orders(db: Connection, project_id: str) -> bool:
    """Whether the project has an order, in whatever state."""
    return bool(db.execute(select(exists().where(orders.c.project_id == project_id))).scalar_one())


def add_checkin(db: Connection, **fields: Any) -> Row[Any]:
    """The new check-in. Its time is taken now, while the order is locked, so that times follow the order's moves."""
    row = insert(checkins).values(**fields, created_at=func.clock_timestamp())
    return db.execute(row.returning(checkins)).one()


def checkins_of_order(db: Connection, order_id: int, query: PageQuery) -> Found[Row[Any]]:
    """A page of an order's check-ins, oldest first."""
    statement = select(checkins).where(checkins.c.order_id == order_id)
    rows = db.execute(keyset(statement, (checkins.c.created_at, checkins.c.id), query, descending=False)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))


def checkins_since(db: Connection, order_id: int, since: datetime | None, *, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` of an order's check-ins from that time on (from the first, where it is None), oldest first."""
    statement = select(checkins).where(checkins.c.order_id == order_id)
    if since is not None:
        statement = statement.where(checkins.c.created_at >= since)
    return db.execute(statement.order_by(checkins.c.created_at, checkins.c.id).limit(limit)).all()


def progress_for_change(db: Connection, project_id: str) -> Row[Any] | None:
    """How the project stood, locked until the transaction ends; one new to us is `open`, version 0. None when it has
    no orders. Its owner is the customer of its orders."""
    return next(iter(all_progress_for_change(db, [project_id])), None)


def all_progress_for_change(db: Connection, project_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """The same of many projects, which are locked in the order of their ids; none of those without orders."""
    theirs = orders.c.project_id == _any(project_ids)
    first = select(orders.c.project_id, func.min(orders.c.user_id), literal("open"), literal(0)).where(theirs)
    first = first.group_by(orders.c.project_id).order_by(orders.c.project_id)
    names = ["project_id", "owner_id", "status", "version"]
    db.execute(upsert(project_progress).from_select(names, first).on_conflict_do_nothing())
    locked = select(project_progress).where(project_progress.c.project_id == _any(project_ids))
    return db.execute(locked.order_by(project_progress.c.project_id).with_for_update(key_share=True)).all()


def statuses_of_projects(db: Connection, project_ids: Sequence[str]) -> dict[str, list[Status]]:
    """Which states the orders of these projects are in, each once."""
    theirs = select(orders.c.project_id, func.array_agg(orders.c.status.distinct()).label("statuses"))
    theirs = theirs.where(orders.c.project_id == _any(project_ids)).group_by(orders.c.project_id)
    return {row.project_id: row.statuses for row in db.execute(theirs)}


def change_all_progress(db: Connection, statuses: Mapping[str, str]) -> dict[str, int]:
    """Note the new status of each of these projects; returns the new versions."""
    new = func.unnest(cast(list(statuses), ARRAY(String)), cast(list(statuses.values()), ARRAY(String)))
    to = new.table_valued("project_id", "status", name="new").render_derived()
    change = (
        update(project_progress)
        .where(project_progress.c.project_id == to.c.project_id)
        .values(status=to.c.status, version=project_progress.c.version + 1, updated_at=func.clock_timestamp())
    )
    changed = db.execute(change.returning(project_progress.c.project_id, project_progress.c.version))
    return {row.project_id: row.version for row in changed}


def _any(project_ids: Sequence[str]) -> Any:
    """One of these, as one parameter, however many they are."""
    return any_(cast(list(project_ids), ARRAY(String)))


def _any_id(order_ids: Sequence[int]) -> Any:
    """The same of ids."""
    return any_(cast(list(order_ids), ARRAY(Integer)))


# Accounts and projects that close. The first number of a lock tells whose it is, and both from others.
ACCOUNTS, PROJECTS = 1, 2


def share_account(db: Connection, user_id: int) -> None:
    """Keep an account from being closed until the transaction ends. Others may do so at the same time."""
    db.execute(select(func.pg_advisory_xact_lock_shared(ACCOUNTS, user_id)))


def hold_account(db: Connection, user_id: int) -> None:
    """Wait until nobody shares the account any more, and keep them waiting until the transaction ends."""
    db.execute(select(func.pg_advisory_xact_lock(ACCOUNTS, user_id)))


def closed_among(db: Connection, user_ids: Iterable[int]) -> set[int]:
    """Those of these users whose account is closed."""
    closed = select(closed_accounts.c.user_id).where(closed_accounts.c.user_id.in_(list(user_ids)))
    return set(db.execute(closed).scalars())


def close_account(db: Connection, user_id: int) -> None:
    """Note that an account is closed, for good."""
    db.execute(upsert(closed_accounts).values(user_id=user_id).on_conflict_do_nothing())


def share_project(db: Connection, project_id: str) -> None:
    """Keep a project from being closed until the transaction ends. Others may do so at the same time."""
    db.execute(select(func.pg_advisory_xact_lock_shared(PROJECTS, func.hashtext(project_id))))


def hold_project(db: Connection, project_id: str) -> None:
    """Wait until nobody shares the project any more, and keep them waiting until the transaction ends."""
    db.execute(select(func.pg_advisory_xact_lock(PROJECTS, func.hashtext(project_id))))


def is_closed(db: Connection, project_id: str, lapse: timedelta) -> bool:
    """Whether the project was closed less than `lapse` ago, by anybody."""
    closings = select(func.max(closed_projects.c.closed_at) > func.clock_timestamp() - lapse)
    return bool(db.execute(closings.where(closed_projects.c.project_id == project_id)).scalar_one_or_none())


def close_project(db: Connection, project_id: str) -> datetime:
    """Close the project from now on, also where others are closing it; returns the moment, which tells this closing
    from theirs."""
    closed = insert(closed_projects).values(project_id=project_id, closed_at=func.clock_timestamp())
    moment: datetime = db.execute(closed.returning(closed_projects.c.closed_at)).scalar_one()
    return moment


def open_project(db: Connection, project_id: str, closed_at: datetime) -> None:
    """Undo the closing of that moment. The project stays closed while there is another one."""
    closing = (closed_projects.c.project_id == project_id, closed_projects.c.closed_at == closed_at)
    db.execute(delete(closed_projects).where(*closing))


def forget_lapsed(db: Connection, lapse: timedelta, limit: int) -> None:
    """Remove up to `limit` closings older than `lapse`, passing over those that somebody is just undoing."""
    closing = tuple_(closed_projects.c.project_id, closed_projects.c.closed_at)
    lapsed = select(closed_projects).where(closed_projects.c.closed_at < func.clock_timestamp() - lapse)
    chosen = lapsed.limit(limit).with_for_update(skip_locked=True).cte()  # else it may be chosen anew for each row
    db.execute(delete(closed_projects).where(closing.in_(select(chosen))))


def orders_of_party_for_change(db: Connection, user_id: int, statuses: Iterable[Status]) -> Sequence[Row[Any]]:
    """The orders in these states in which the user is customer or provider, locked until the transaction ends, by
    id."""
    chosen = select(orders).where(_party(user_id), orders.c.status.in_(list(statuses)))
    return db.execute(chosen.order_by(orders.c.id).with_for_update(key_share=True)).all()


# A person's data


def orders_of_party(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All orders in which the user is customer or provider, by id."""
    return db.execute(select(orders).where(_party(user_id)).order_by(orders.c.id)).all()


def checkins_of_party(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """All check-ins of the user's orders, with `provider_user_id`, whoever reported them; by id."""
    joined = select(checkins, orders.c.provider_user_id).join(orders, orders.c.id == checkins.c.order_id)
    return db.execute(joined.where(_party(user_id)).order_by(checkins.c.id)).all()


def progress_of_owner(db: Connection, user_id: int) -> Sequence[Row[Any]]:
    """How the user's projects stand, as far as they have orders."""
    return db.execute(select(project_progress).where(project_progress.c.owner_id == user_id)).all()


def some_of_party(
    db: Connection, user_id: int, *, as_provider: bool, after: Place | None, limit: int
) -> Sequence[Row[Any]]:
    """Where the next `limit` of the user's orders after that place stand (`created_at`, `id`), as customer or as
    provider: a walk along that role's index."""
    theirs = orders.c.provider_user_id if as_provider else orders.c.user_id
    places = select(*NEWEST).where(theirs == user_id)
    if after is not None:
        places = places.where(tuple_(*NEWEST) > tuple_(*after))
    rows: Sequence[Any] = db.execute(places.order_by(*NEWEST).limit(limit)).all()
    return rows


def notes_of_orders(db: Connection, order_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """The notes on the check-ins of these orders, by the check-ins' ids, each with the order's `provider_user_id`."""
    notes = select(checkins.c.id, checkins.c.note, orders.c.provider_user_id)
    joined = notes.join(orders, orders.c.id == checkins.c.order_id)
    rows: Sequence[Any] = db.execute(
        joined.where(checkins.c.order_id == _any_id(order_ids), checkins.c.note.is_not(None))
    ).all()
    return rows


def set_notes(db: Connection, notes: Mapping[int, str | None]) -> None:
    """Put other notes, or none, on check-ins, by their ids."""
    if not notes:
        return
    new = _texts(notes)
    db.execute(update(checkins).where(checkins.c.id == cast(new.c.key, Integer)).values(note=new.c.value))


def set_reasons(db: Connection, reasons: Mapping[int, str | None]) -> None:
    """Put other reasons, or none, on cancelled orders, by their ids. It does not count as a change of the orders."""
    if not reasons:
        return
    new = _texts(reasons)
    db.execute(update(orders).where(orders.c.id == cast(new.c.key, Integer)).values(cancel_reason=new.c.value))


def leave_projects(db: Connection, order_ids: Sequence[int]) -> None:
    """Take these orders out of their projects."""
    inside = (orders.c.id == _any_id(order_ids), orders.c.project_id.is_not(None))
    db.execute(update(orders).where(*inside).values(project_id=None))


def forget_progress(db: Connection, owner_id: int, limit: int) -> int:
    """Forget how up to `limit` of a user's projects stood, whose orders have left them; returns how many. Call it
    until there are none."""
    theirs = select(project_progress.c.project_id).where(project_progress.c.owner_id == owner_id).limit(limit)
    return db.execute(delete(project_progress).where(project_progress.c.project_id.in_(theirs))).rowcount


def _texts(texts: Mapping[int, str | None]) -> Any:
    """Texts by ids, as one parameter: a table of `key` and `value`."""
    by_id = {str(id): text for id, text in texts.items()}
    return func.jsonb_each_text(cast(by_id, JSONB)).table_valued("key", "value", name="new").render_derived()


def _party(user_id: int) -> ColumnElement[bool]:
    return or_(orders.c.user_id == user_id, orders.c.provider_user_id == user_id)
