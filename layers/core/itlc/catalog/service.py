"""What happens in the catalogue: who becomes a provider, what is offered, changed, withdrawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import IntegrityError

from itlc import audit
from itlc.access import Caller
from itlc.catalog import repository
from itlc.catalog.model import OFFERED, WITHDRAWN
from itlc.catalog.schemas import (
    BecomeProvider,
    ChangeProvider,
    ChangeService,
    ProviderQuery,
    ProviderView,
    PublishService,
    Rating,
    ServiceQuery,
    ServiceView,
)
from itlc.errors import Conflict, NotFound, invalid
from itlc.paging import Found
from itlc.preconditions import IfMatch
from itlc.stores import postgres
from itlc.stores.postgres import constraint
from itlc.templates.schemas import TemplateView


def become_provider(db: Connection, request: BecomeProvider, *, user_id: int, user_email: str) -> ProviderView:
    """The caller's new provider profile. Raises Conflict when they have one, or when the e-mail is taken."""
    try:
        row = repository.add_provider(db, user_id=user_id, name=request.name, email=request.email or user_email)
    except IntegrityError as error:
        raise _taken(error) from error
    return ProviderView.model_validate(row)


def read_provider(db: Connection, provider_id: int) -> ProviderView:
    """One provider. Raises NotFound."""
    return ProviderView.model_validate(_there(repository.provider(db, provider_id), "provider"))


def list_providers(db: Connection, query: ProviderQuery) -> Found[ProviderView]:
    """A page of providers, newest first."""
    return repository.find_providers(db, query).map(ProviderView.model_validate)


def change_provider(
    db: Connection, provider_id: int, request: ChangeProvider, *, caller: Caller, if_match: IfMatch
) -> ProviderView:
    """The provider after the change. Raises NotFound, Forbidden when it is another's, PreconditionFailed, and
    Conflict when the e-mail is taken."""
    row = _there(repository.provider_for_change(db, provider_id), "provider")
    caller.must_own("provider profile", row.user_id)
    if_match.check(ProviderView.model_validate(row))
    changes = request.model_dump(exclude_unset=True)
    if not changes:
        return ProviderView.model_validate(row)
    try:
        changed = repository.change_provider(db, provider_id, changes)
    except IntegrityError as error:
        raise _taken(error) from error
    if caller.id != row.user_id:  # name and address are personal: the record says that they changed, not how
        audit.record(db, caller.id, "change_provider", f"provider:{provider_id}", after={"changed": sorted(changes)})
    return ProviderView.model_validate(changed)


def provider_id_of(user_id: int) -> int | None:
    """The id of the user's provider profile, or None. Opens `itlc_api` itself."""
    with postgres.catalog.read() as db:
        row = repository.provider_of_user(db, user_id)
    return None if row is None else int(row.id)


def provider_of(user_id: int) -> ProviderView | None:
    """The user's provider profile, or None. Opens `itlc_api` itself."""
    with postgres.catalog.read() as db:
        row = repository.provider_of_user(db, user_id)
    return None if row is None else ProviderView.model_validate(row)


def publish(
    db: Connection, request: PublishService, *, provider_id: int | None, template: TemplateView | None
) -> ServiceView:
    """The new service, offered from now on; what the request leaves out comes from the template."""
    row = repository.add_service(
        db,
        provider_id=provider_id,
        template_id=request.template_id,
        name=request.name or (template and template.name),
        description=request.description or (template and template.description),
    )
    return view(row)


def read_service(db: Connection, service_id: int) -> ServiceView:
    """One service, withdrawn or not. Raises NotFound."""
    return view(_there(repository.service(db, service_id), "service"))


def list_services(db: Connection, query: ServiceQuery) -> Found[ServiceView]:
    """A page of the services on offer."""
    return repository.find_services(db, query).map(view)


def change_service(
    db: Connection, service_id: int, request: ChangeService, *, caller: Caller, if_match: IfMatch
) -> ServiceView:
    """The service after the change. Raises NotFound, Forbidden when it is another's, Conflict when it was
    withdrawn, PreconditionFailed."""
    row = _own_service(db, service_id, caller, if_match)
    if row.status == WITHDRAWN:
        raise Conflict("This service was withdrawn: it can no longer be changed.")
    changes = request.model_dump(exclude_unset=True)
    return view(_changed(db, row, "change_service", changes, caller) if changes else row)


def withdraw_service(db: Connection, service_id: int, *, caller: Caller, if_match: IfMatch) -> None:
    """Take a service off the market; once withdrawn it stays so. Raises NotFound, Forbidden, PreconditionFailed."""
    row = _own_service(db, service_id, caller, if_match)
    if row.status == OFFERED:
        _changed(db, row, "withdraw_service", {"status": WITHDRAWN}, caller)


@dataclass(frozen=True)
class OfferedService:
    """What other domains need to know of a service: who offers it."""

    id: int
    name: str
    provider_id: int
    provider_user_id: int
    status: str


def find_service(service_id: int, field: str | None = None) -> OfferedService:
    """A service for another domain, withdrawn or not. Opens `itlc_api` itself. Raises NotFound, or Invalid where a
    body's `field` named it."""
    with postgres.catalog.read() as db:
        row = repository.service(db, service_id)
    if row is None and field is not None:
        raise invalid(field, f"there is no service {service_id}")
    return _facts(_there(row, "service"))


def offered_service(service_id: int, field: str | None = None) -> OfferedService:
    """A service that can be bid on or used. Opens `itlc_api` itself. Raises NotFound, or Conflict when it was
    withdrawn; where a body's `field` named it, Invalid for both."""
    service = find_service(service_id, field)
    if service.status != OFFERED:
        if field is not None:
            raise invalid(field, f"service {service_id} was withdrawn")
        raise Conflict("This service was withdrawn.")
    return service


def all_offered(service_ids: Sequence[int], field: str) -> None:
    """Raise Invalid, for the body's `field`, unless each of these services exists and is offered. Opens `itlc_api`
    itself."""
    if not service_ids:
        return
    with postgres.catalog.read() as db:
        offered = repository.offered_among(db, service_ids)
    missing = [str(service_id) for service_id in service_ids if service_id not in offered]
    if missing:
        raise invalid(field, f"not on offer: {', '.join(missing)}")


def _facts(row: Row[Any]) -> OfferedService:
    return OfferedService(row.id, row.name, row.provider_id, row.provider_user_id, row.status)


def view(row: Row[Any]) -> ServiceView:
    """A service's row as it is answered."""
    average = round(row.rating_sum / row.rating_count, 2) if row.rating_count else None
    fields = {name: getattr(row, name) for name in ServiceView.model_fields if name != "rating"}
    return ServiceView(rating=Rating(average=average, count=row.rating_count), **fields)


def _own_service(db: Connection, service_id: int, caller: Caller, if_match: IfMatch) -> Row[Any]:
    row = _there(repository.service_for_change(db, service_id), "service")
    caller.must_own("service", row.provider_user_id)
    if_match.check(view(row))
    return row


def _changed(db: Connection, row: Row[Any], action: str, changes: dict[str, Any], caller: Caller) -> Row[Any]:
    """The service after the change, which goes on record where an administrator made it in the provider's place."""
    if caller.id != row.provider_user_id:
        before = {name: getattr(row, name) for name in changes}
        audit.record(db, caller.id, action, f"service:{row.id}", before=before, after=changes)
    return repository.change_service(db, row.id, changes)


def _there(row: Row[Any] | None, what: str) -> Row[Any]:
    if row is None:
        raise NotFound(f"There is no such {what}.")
    return row


def _taken(error: IntegrityError) -> Conflict:
    if constraint(error) == "providers_email":
        return Conflict("Another provider has this e-mail address.")
    if constraint(error) == "providers_user_id_key":
        return Conflict("You have a provider profile already.")
    raise error
