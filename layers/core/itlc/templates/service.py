"""Templates: kept by administrators, picked by those who make projects and services."""

from typing import Any

from sqlalchemy import Connection, Row

from itlc import audit
from itlc.errors import NotFound, invalid
from itlc.paging import Found
from itlc.preconditions import IfMatch
from itlc.stores import postgres
from itlc.templates import repository
from itlc.templates.schemas import ChangeTemplate, KeepTemplate, TemplateQuery, TemplateType, TemplateView


def keep(db: Connection, request: KeepTemplate, *, actor_id: int) -> TemplateView:
    """The new template."""
    row = repository.add(db, **request.model_dump())
    audit.record(db, actor_id, "keep_template", f"template:{row.id}", after=request.model_dump())
    return TemplateView.model_validate(row)


def read(db: Connection, template_id: int) -> TemplateView:
    """One template. Raises NotFound."""
    return TemplateView.model_validate(_there(repository.one(db, template_id)))


def find(db: Connection, query: TemplateQuery) -> Found[TemplateView]:
    """A page of templates, newest first."""
    return repository.find(db, query).map(TemplateView.model_validate)


def change(
    db: Connection, template_id: int, request: ChangeTemplate, *, actor_id: int, if_match: IfMatch
) -> TemplateView:
    """The template after the change. Raises NotFound, PreconditionFailed."""
    row = _there(repository.one_for_change(db, template_id))
    if_match.check(TemplateView.model_validate(row))
    changes = request.model_dump(exclude_unset=True)
    if not changes:
        return TemplateView.model_validate(row)
    before = {name: getattr(row, name) for name in changes}
    audit.record(db, actor_id, "change_template", f"template:{template_id}", before=before, after=changes)
    return TemplateView.model_validate(repository.change(db, template_id, changes))


def remove(db: Connection, template_id: int, *, actor_id: int, if_match: IfMatch) -> None:
    """Delete a template. Raises NotFound, PreconditionFailed."""
    row = _there(repository.one_for_change(db, template_id))
    if_match.check(TemplateView.model_validate(row))
    before = {name: getattr(row, name) for name in KeepTemplate.model_fields}
    audit.record(db, actor_id, "remove_template", f"template:{template_id}", before=before)
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
