"""The templates' queries."""

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from itlc.paging import Found, cut
from itlc.stores.keyset import keyset
from itlc.stores.search import has_words
from itlc.templates.schemas import TemplateQuery
from itlc.templates.tables import template_store


def add(db: Connection, **fields: Any) -> Row[Any]:
    """The new template."""
    return db.execute(insert(template_store).values(**fields).returning(template_store)).one()


def one(db: Connection, template_id: int) -> Row[Any] | None:
    """One template, or None."""
    return db.execute(select(template_store).where(template_store.c.id == template_id)).one_or_none()


def one_for_change(db: Connection, template_id: int) -> Row[Any] | None:
    """One template, locked until the transaction ends, or None."""
    found = select(template_store).where(template_store.c.id == template_id)
    return db.execute(found.with_for_update()).one_or_none()


def change(db: Connection, template_id: int, changes: dict[str, Any]) -> Row[Any]:
    """The template as it is after the change."""
    changed = update(template_store).where(template_store.c.id == template_id)
    return db.execute(changed.values(**changes, updated_at=func.now()).returning(template_store)).one()


def remove(db: Connection, template_id: int) -> None:
    """Delete a template. Projects and services that were made from it keep their own words."""
    db.execute(delete(template_store).where(template_store.c.id == template_id))


def find(db: Connection, query: TemplateQuery) -> Found[Row[Any]]:
    """A page of templates, newest first."""
    statement = select(template_store)
    if query.type is not None:
        statement = statement.where(template_store.c.type == query.type)
    if query.q is not None:
        statement = statement.where(has_words(template_store.c.search, query.q))
    rows = db.execute(keyset(statement, (template_store.c.created_at, template_store.c.id), query)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))
