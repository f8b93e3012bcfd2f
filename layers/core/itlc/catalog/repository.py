"""The catalogue's queries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from itlc.catalog.model import OFFERED
from itlc.catalog.schemas import ProviderQuery, ServiceQuery
from itlc.catalog.tables import providers, service_ratings, services
from itlc.paging import Found, cut
from itlc.stores.keyset import keyset
from itlc.stores.search import has_words

ALIVE = providers.c.erased_at.is_(None)


def add_provider(db: Connection, *, user_id: int, name: str, email: str) -> Row[Any]:
    """The new provider. Raises IntegrityError (`providers_user_id_key`, `providers_email`)."""
    row = insert(providers).values(user_id=user_id, name=name, email=email).returning(providers)
    return db.execute(row).one()


def provider(db: Connection, provider_id: int) -> Row[Any] | None:
    """One provider who is not erased, or None."""
    return db.execute(select(providers).where(providers.c.id == provider_id, ALIVE)).one_or_none()


def provider_for_change(db: Connection, provider_id: int) -> Row[Any] | None:
    """One provider who is not erased, locked until the transaction ends, or None."""
    found = select(providers).where(providers.c.id == provider_id, ALIVE)
    return db.execute(found.with_for_update(key_share=True)).one_or_none()


def provider_of_user(db: Connection, user_id: int) -> Row[Any] | None:
    """The user's provider profile, or None; None, too, once they were erased."""
    return db.execute(select(providers).where(providers.c.user_id == user_id, ALIVE)).one_or_none()


def change_provider(db: Connection, provider_id: int, changes: dict[str, Any]) -> Row[Any]:
    """The provider as it is after the change. Raises IntegrityError (`providers_email`)."""
    change = update(providers).where(providers.c.id == provider_id).values(**changes, updated_at=func.now())
    return db.execute(change.returning(providers)).one()


def find_providers(db: Connection, query: ProviderQuery) -> Found[Row[Any]]:
    """A page of providers, newest first."""
    statement = select(providers).where(ALIVE)
    if query.q is not None:
        statement = statement.where(has_words(providers.c.search, query.q))
    rows = db.execute(keyset(statement, (providers.c.created_at, providers.c.id), query)).all()
    return cut(rows, query, lambda row: (row.created_at, row.id))


def add_service(db: Connection, **fields: Any) -> Row[Any]:
    """The new service."""
    return db.execute(insert(services).values(**fields).returning(services)).one()


def service(db: Connection, service_id: int) -> Row[Any] | None:
    """One service with its provider's `user_id`, or None."""
    return db.execute(_with_owner().where(services.c.id == service_id)).one_or_none()


def service_for_change(db: Connection, service_id: int) -> Row[Any] | None:
    """One service with its provider's `user_id`, locked until the transaction ends, or None."""
    locked = _with_owner().where(services.c.id == service_id).with_for_update(key_share=True, of=services)
    return db.execute(locked).one_or_none()


def offered_among(db: Connection, service_ids: Sequence[int]) -> set[int]:
    """Those of the services that exist and are offered."""
    offered = select(services.c.id).where(services.c.id.in_(service_ids), services.c.status == OFFERED)
    return set(db.execute(offered).scalars())


def change_service(db: Connection, service_id: int, changes: dict[str, Any]) -> Row[Any]:
    """The service as it is after the change."""
    change = update(services).where(services.c.id == service_id).values(**changes, updated_at=func.now())
    return db.execute(change.returning(services)).one()


def find_services(db: Connection, query: ServiceQuery) -> Found[Row[Any]]:
    """A page of the services on offer, newest or best rated first."""
    statement = select(services).where(services.c.status == OFFERED)
    if query.q is not None:
        statement = statement.where(has_words(services.c.search, query.q))
    if query.provider_id is not None:
        statement = statement.where(services.c.provider_id == query.provider_id)
    first = services.c.rating_average if query.sort == "rating" else services.c.created_at
    rows = db.execute(keyset(statement, (first, services.c.id), query)).all()
    return cut(rows, query, lambda row: (getattr(row, first.name), row.id))


def rating(db: Connection, order_id: int) -> Row[Any] | None:
    """What an order's rating says of its service, as far as it is known here, or None."""
    return db.execute(select(service_ratings).where(service_ratings.c.order_id == order_id)).one_or_none()


def keep_rating(db: Connection, *, order_id: int, service_id: int, rating: int, version: int) -> None:
    """Note what an order's rating says, in place of what it said before."""
    row = upsert(service_ratings).values(order_id=order_id, service_id=service_id, rating=rating, version=version)
    new = {"rating": rating, "version": version}
    db.execute(row.on_conflict_do_update(index_elements=["order_id"], set_=new))


def add_to_ratings(db: Connection, service_id: int, *, count: int, sum: int) -> None:
    """Add to how many ratings a service has, and to their sum. It does not count as a change of the service."""
    more = {"rating_count": services.c.rating_count + count, "rating_sum": services.c.rating_sum + sum}
    db.execute(update(services).where(services.c.id == service_id).values(**more))


def _with_owner() -> Any:
    owner = providers.c.user_id.label("provider_user_id")
    return select(services, owner).join(providers, providers.c.id == services.c.provider_id)


# A person's data


def profile_of_user(db: Connection, user_id: int) -> Row[Any] | None:
    """The user's provider profile, erased or not, locked until the transaction ends; or None."""
    found = select(providers).where(providers.c.user_id == user_id)
    return db.execute(found.with_for_update(key_share=True)).one_or_none()


def services_of_provider(db: Connection, provider_id: int) -> Sequence[Row[Any]]:
    """All services of a provider, withdrawn or not, by id."""
    return db.execute(select(services).where(services.c.provider_id == provider_id).order_by(services.c.id)).all()


def erase_provider(db: Connection, provider_id: int, *, name: str, email: str) -> None:
    """Mark a provider as erased, with this name and address in the place of their own."""
    gone = update(providers).where(providers.c.id == provider_id)
    db.execute(gone.values(name=name, email=email, erased_at=func.now(), updated_at=func.now()))
