"""Everything that the seven stores hold about a person, gathered into one document.

Each domain says in its `personal_data.py` what it holds; here it is put together, and told in JSON's own types.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import ObjectId

from itlc import audit
from itlc.accounts import personal_data as accounts
from itlc.accounts.schemas import ExportView
from itlc.bids import personal_data as bids
from itlc.catalog import personal_data as catalog
from itlc.content import personal_data as content
from itlc.feedback import personal_data as feedback
from itlc.notifications import personal_data as notifications
from itlc.orders import personal_data as orders
from itlc.plans import personal_data as plans
from itlc.projects import personal_data as projects
from itlc.stores import mongo, neo4j, postgres
from itlc.wallet import personal_data as wallet


def export(user_id: int) -> ExportView:
    """All that is held about a user, without what would let anybody in (hashes of passwords and tokens, idempotency
    keys). Opens the seven stores itself, one after the other: each part is as it is when it is read.

    Raises Unauthenticated when they were erased, StoreAway when a store cannot be reached.
    """
    with postgres.users.read() as db:
        about_user = accounts.export(db, user_id)
        in_users = {**about_user, **wallet.export_ledger(db, user_id), "audit": audit.about_user(db, user_id)}
    with postgres.catalog.read() as db:
        in_api = {**catalog.export(db, user_id), "audit": audit.about_user(db, user_id)}
    with postgres.orders.read() as db:
        order_ids = orders.order_ids(db, user_id)
        in_orders = {
            **bids.export(db, user_id),
            **orders.export(db, user_id),
            **wallet.export_payments(db, user_id, order_ids),
            **notifications.export(db, user_id),
            "audit": audit.about_user(db, user_id),
        }
    with postgres.tokens.read() as db:
        in_tokens = {**wallet.export_topups(db, user_id), "audit": audit.about_user(db, user_id)}
    with postgres.templates.read() as db:
        in_templates = {"audit": audit.about_user(db, user_id)}
    email = str(about_user["user"]["email"])
    in_graph = neo4j.graph.read(lambda db: plans.export(db, set(order_ids), email))
    said = {
        "exported_at": datetime.now(UTC),
        "itlc_users": in_users,
        "itlc_api": in_api,
        "itlc_orders": in_orders,
        "itlc_tokens": in_tokens,
        "itlc_templates": in_templates,
        "itlc_pbfr": _documents(user_id),
        "neo4j": in_graph,
    }
    return ExportView.model_validate(_plain(said))


def _documents(user_id: int) -> dict[str, Any]:
    with mongo.projects.read() as documents:
        found = projects.export(documents, user_id)
    with mongo.blogs.read() as documents:
        found["blogs"] = content.export(documents, user_id)
    with mongo.faqs.read() as documents:
        found["faqs"] = content.export(documents, user_id)
    with mongo.ratings.read() as documents:
        found["ratings"] = feedback.export(documents, user_id)
    with mongo.reviews.read() as documents:
        found["reviews"] = feedback.export(documents, user_id)
    return found


def _plain(value: Any) -> Any:
    """`value` in JSON's own types: times in RFC 3339 with `Z`, decimals and ids as text."""
    match value:
        case Mapping():
            return {("id" if name == "_id" else name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case Decimal() | UUID() | ObjectId():
            return str(value)
        case _:
            return value
