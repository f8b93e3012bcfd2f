"""Somebody who has left traces in all seven stores, and a look at everything that the stores hold."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from itlc.errors import StoreAway
from itlc.stores import mongo, neo4j, postgres
from itlc.stores.postgres import DATABASES

from tests.support.calling import As, nobody
from tests.support.market import open_bid, order_in, service_of
from tests.support.money import give
from tests.support.people import PASSWORD, person, signed_in
from tests.support.plans import step
from tests.support.queues import drain, receive_all
from tests.support.stack import Stores

NAME, EMAIL = "Ada Lovelace", "ada.lovelace@example.org"
PROFILE, PROFILE_EMAIL = "Lovelace Gardens", "Gardens@lovelace.example"
WRITTEN = "zinnia"
"""A word in every text of hers that has to go."""


@dataclass(frozen=True)
class Life:
    """Ada, whom she deals with, and what there is of hers."""

    ada: As
    grace: As
    bob: As
    service_id: int
    """Of Ada's, offered."""
    bought_id: int
    """Her order with Grace, paid and rated."""
    waived_id: int
    """Bob's order with her, completed and not paid."""
    bobs_project: str
    """What that order is for."""
    open_bid_id: int
    """Hers, on Grace's service."""
    received_bid_id: int
    """Bob's, on hers."""
    topup_id: int
    """Pending."""


def full_life() -> Life:
    """Ada, a user and a provider, with something in every table, collection and plan; 380 tokens are left to her."""
    registered = nobody.call("register_user", {"name": NAME, "email": EMAIL, "password": PASSWORD}, key="register")
    assert registered.status == 201, registered.text
    ada, grace, bob = signed_in(NAME), person("Grace"), person("Bob")
    assert ada.user_id is not None
    give(ada.user_id, 500)
    _call(ada, "become_provider", {"name": PROFILE, "email": PROFILE_EMAIL}, key="profile")
    offer = {"name": f"Gardening by {NAME}", "description": f"Ask for {PROFILE} or write to {EMAIL}."}
    service_id = _call(ada, "publish_service", offer, key="service")["id"]

    bought_id = _bought(ada, grace)
    project_id = _call(bob, "create_project", {"name": "Roof", "description": "A new one."})["id"]
    waived_id = order_in("in_progress", bob, ada, "80.00", project_id=project_id, service_id=service_id)
    _call(
        ada, "check_in", {"status": "completed", "note": f"The {WRITTEN} is planted."}, key="done", order_id=waived_id
    )

    cancelled = order_in("created", ada, grace)
    _call(ada, "cancel_order", {"reason": f"No {WRITTEN} left."}, key="cancel", order_id=cancelled)
    grumbled = order_in("created", ada, grace)
    _call(grace, "cancel_order", {"reason": f"{NAME} never answered."}, order_id=grumbled)
    open_bid_id = _bid(ada, grace, key="open")
    rejected = _bid(ada, grace, key="rejected")
    _call(grace, "reject_bid", key="no", bid_id=rejected)
    received = {"amount": "90.00", "message": f"Dear {NAME}, can you come on Monday?"}
    received_bid_id = _call(bob, "place_bid", received, service_id=service_id)["id"]

    _call(ada, "write_blog", {"title": f"On the {WRITTEN}", "content": f"It is a {WRITTEN}."}, key="blog")
    _call(ada, "write_faq", {"question": f"A {WRITTEN}?", "answer": f"A {WRITTEN}."}, key="faq")
    refused = ada.call("write_review", {"service_id": service_id, "review": WRITTEN}, key="refused")
    assert refused.status == 403, "she has not bought her own"

    # Grace works for Bob, and has others notified; so does Ada's own order with her.
    elsewhere = order_in("in_progress", bob, grace)
    told = step(1, tell=("Grace@Example.org", PROFILE_EMAIL.upper(), EMAIL), description=f"Not for {NAME}")
    assert grace.call("define_plan", [told], order_id=elsewhere).status == 200

    assert nobody.call("request_password_reset", {"email": EMAIL}).status == 202
    drain()
    topup_id = _call(ada, "top_up", {"amount": 7}, key="topup", expect=202)["id"]
    assert len(receive_all("topups")) == 1, "lost on the way: it stays pending"
    return Life(
        ada, grace, bob, service_id, bought_id, waived_id, project_id, open_bid_id, received_bid_id, int(topup_id)
    )


def _bought(ada: As, grace: As) -> int:
    """An order of Ada's with Grace, planned, done, paid, rated and reviewed."""
    project = _call(
        ada, "create_project", {"name": f"{WRITTEN} bed", "description": f"A {WRITTEN} bed."}, key="project"
    )
    service_id = service_of(grace, "Digging")
    bid = {"amount": "120.00", "message": f"For a {WRITTEN}.", "project_id": project["id"]}
    bid_id = _call(ada, "place_bid", bid, key="bid", service_id=service_id)["id"]
    order_id = int(_call(grace, "make_order", bid_id=bid_id)["id"])
    plan = [step(1, tell=(EMAIL.upper(), "nobody@example.org"), description=f"Ask {NAME} first")]
    assert grace.call("define_plan", plan, order_id=order_id).status == 200
    _call(grace, "add_step", step(2, tell=(EMAIL,)), key="step", order_id=order_id)
    _call(grace, "check_in", {"status": "started"}, order_id=order_id)
    _call(grace, "check_in", {"status": "completed", "note": f"{NAME} was happy."}, order_id=order_id)
    _call(ada, "pay_order", key="pay", order_id=order_id)
    rating = ada.call("rate_order", {"rating": 4, "review": f"A fine {WRITTEN}."}, order_id=order_id)
    assert rating.status == 200, rating.text
    _call(ada, "write_review", {"service_id": service_id, "review": f"The {WRITTEN} grows."}, key="review")
    return order_id


def _bid(ada: As, grace: As, key: str) -> int:
    bid = {"amount": "50.00", "message": f"Mind the {WRITTEN}."}
    return int(_call(ada, "place_bid", bid, key=key, service_id=service_of(grace))["id"])


def _call(
    who: As, operation: str, body: Any = None, *, key: str | None = None, expect: int | None = None, **ids: Any
) -> Any:
    answer = who.call(operation, body, key=key, **ids)
    assert answer.status in ((200, 201) if expect is None else (expect,)), f"{operation}: {answer.text}"
    return answer.json


def other_open_bid(life: Life) -> int:
    """One more open bid of Bob's on Ada's service."""
    return open_bid(life.bob, life.service_id)


def everything(stores: Stores) -> dict[str, str]:
    """All that the stores hold, as text: by table, collection, and kind of node."""
    found: dict[str, Any] = {}
    for database in DATABASES:
        for table in database.metadata.sorted_tables:
            found[f"{database.name}.{table.name}"] = stores.rows(database.name, f"SELECT * FROM {table.name}")
    for collection in stores.mongo["itlc_pbfr"].list_collection_names():
        found[f"itlc_pbfr.{collection}"] = stores.documents(collection)
    for record in stores.graph("MATCH (n) RETURN labels(n)[0] AS kind, properties(n) AS properties"):
        found.setdefault(f"neo4j.{record['kind']}", []).append(record["properties"])
    return {place: json.dumps(rows, default=str, ensure_ascii=False) for place, rows in found.items()}


def places_with(stores: Stores, *words: str) -> list[str]:
    """Where any of these words occurs in the stores, in whatever case."""
    return sorted(
        place for place, text in everything(stores).items() if any(word.lower() in text.lower() for word in words)
    )


STORES = {
    "itlc_users": (postgres.users,),
    "itlc_api": (postgres.catalog,),
    "itlc_orders": (postgres.orders,),
    "itlc_tokens": (postgres.tokens,),
    "itlc_templates": (postgres.templates,),
    "itlc_pbfr": mongo.STORES,
    "neo4j": (neo4j.graph,),
}


@contextmanager
def away(store: str) -> Iterator[None]:
    """That store cannot be reached."""

    def refuse(*_: Any) -> Any:
        raise StoreAway(store)

    with pytest.MonkeyPatch.context() as patch:
        for handle in STORES[store]:
            patch.setattr(handle, "read", refuse)
            patch.setattr(handle, "write", refuse)
        yield
