"""Templates: kept by administrators, picked by those who make projects and services."""

from typing import Any

from sqlalchemy import Connection, Row

from itlc.errors import NotFound, invalid
from itlc.paging import Found
from itlc.preconditions import IfMatch
from itlc.stores import postgres
from itlc.templates import repository
from itlc.templates.schemas import ChangeTemplate, KeepTemplate, TemplateQuery, TemplateType, TemplateView


def keep(db: Connection, request: KeepTemplate) -> TemplateView:
    """The new template."""
    return TemplateView.model_validate(repository.add(db, **request.model_dump()))


def read(db: Connection, template_id: int) -> TemplateView:
    """One template. Raises NotFound."""
    return TemplateView.model_validate(_there(repository.one(db, template_id)))


def find(db: Connection, query: TemplateQuery) -> Found[TemplateView]:
    """A page of templates, newest first."""
    return repository.find(db, query).map(TemplateView.model_validate)


def change(db: Connection, template_id: int, request: ChangeTemplate, *, if_match: IfMatch) -> TemplateView:
    """The template after the change. Raises NotFound, PreconditionFailed."""
    row = _there(repository.one_for_change(db, template_id))
    if_match.check(TemplateView.model_validate(row))
    changes = request.model_dump(exclude_unset=True)
    return TemplateView.model_validate(repository.change(db, template_id, changes) if changes else row)


def remove(db: Connection, template_id: int, *, if_match: IfMatch) -> None:
    """Delete a template. Raises NotFound, PreconditionFailed."""
    row = _there(repository.one_for_change(db, template_id))
    if_match.check(TemplateView.model_validate(row))
    repository.remove(db, template_id)


def template_of_type(kind: TemplateType, template_id: int | None) -> TemplateView | None:
    """The template that a request's `template_id` picks, or None where it picks none. Opens `itlc_templates` itself.

    Raises Invalid when there is no such template of that type.
    """
    if template_id is None:
        return None
    with postgres.templates.read() as db:
        row = repository.one(db, template_id)
    if row is None or row.type != kind:
        raise invalid("template_id", f"there is no template {template_id} of type {kind}")
    return TemplateView.model_validate(row)


def _there(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NotFound("There is no such template.")
    return row
