"""Builders of a market: services, bids, orders in whatever state a test begins with.

They go through the domains' services and repositories, for `As(n)` as well as for people with an account; the
orders database notes and emits what it always does.
"""

from decimal import Decimal
from functools import partial
from typing import Any

from tests.support.calling import As


def provider_of(provider: As) -> int:
    """The id of their provider profile, made where they have none."""
    from itlc.catalog import repository
    from itlc.stores import postgres

    user_id = provider.user_id
    assert user_id is not None

    def make(db: Any) -> int:
        row = repository.provider_of_user(db, user_id)
        if row is None:
            email = f"provider{user_id}@example.org"
            row = repository.add_provider(db, user_id=user_id, name=f"Provider {user_id}", email=email)
        return int(row.id)

    return postgres.catalog.write(make)


def service_of(provider: As, name: str = "Gardening") -> int:
    """The id of a new service of theirs, on offer."""
    from itlc.catalog import repository
    from itlc.stores import postgres

    provider_id = provider_of(provider)
    fields = {"name": name, "description": f"{name}, well done.", "provider_id": provider_id, "template_id": None}
    return int(postgres.catalog.write(lambda db: repository.add_service(db, **fields)).id)


def open_bid(bidder: As, service_id: int, amount: str = "120.00", *, project_id: str | None = None) -> int:
    """The id of their new bid on the service. Whether the project is theirs is not asked."""
    from itlc.bids.schemas import PlaceBid
    from itlc.bids.service import place_bid
    from itlc.catalog.service import offered_service
    from itlc.stores import postgres

    request = PlaceBid(amount=Decimal(amount), project_id=project_id)
    service = offered_service(service_id)
    bidder_id = bidder.user_id
    assert bidder_id is not None
    return postgres.orders.write(lambda db: place_bid(db, request, service=service, bidder_id=bidder_id)).id


def order_in(
    status: str,
    customer: As,
    provider: As,
    amount: str = "120.00",
    *,
    project_id: str | None = None,
    service_id: int | None = None,
) -> int:
    """The id of a new order of the customer's with the provider, moved to `status` as the provider would.

    `cancelled` is cancelled by the provider before it began. `paying`, `paid` and `refunded` are set without any
    tokens being moved: where tokens matter, take a completed order and pay it.
    """
    from itlc.access import Caller
    from itlc.bids.service import take_bid
    from itlc.orders import repository, service
    from itlc.orders.schemas import CancelOrder, CheckIn
    from itlc.stores import postgres

    bid_id = open_bid(customer, service_id or service_of(provider), amount, project_id=project_id)
    seller = Caller(provider.user_id)

    def make(db: Any) -> int:
        order_id = take_bid(db, bid_id, caller=seller).id
        if status == "cancelled":
            service.cancel_order(db, order_id, CancelOrder(reason="Fully booked."), caller=seller)
        elif status != "created":
            service.check_in(db, order_id, CheckIn(status="started"), caller=seller)
            if status != "in_progress":
                service.check_in(db, order_id, CheckIn(status="completed"), caller=seller)
        if status in ("paying", "paid", "refunded"):
            repository.change_order(db, order_id, status=status)
            service.refresh_progress(db, project_id)
        return order_id

    return postgres.orders.write(make)


def member(name: str, *, admin: bool = False) -> As:
    """Somebody with an account, but without a session or a password that works: quicker than `people.person`."""
    from itlc.accounts import repository
    from itlc.stores import postgres

    email = f"{name.lower()}@example.org"
    row = postgres.users.write(partial(repository.add_user, name=name, email=email, password="none"))
    return As(int(row.id), is_admin=admin)


def project_of(owner: As, name: str = "A new garden") -> str:
    """The id of a new project of theirs."""
    from itlc.access import Caller
    from itlc.projects.schemas import CreateProject
    from itlc.projects.service import create_project
    from itlc.stores import mongo

    request = CreateProject(name=name, description=f"{name}, at last.")
    make = partial(create_project, request=request, caller=Caller(owner.user_id), template=None)
    return mongo.projects.write(make).id
