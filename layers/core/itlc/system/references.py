"""What must be true between things: bids and their orders, projects and their orders, services and their ratings, and
nothing of who is erased."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import text

from itlc.stores import mongo, neo4j, postgres
from itlc.system.findings import Tally, batches, side_by_side
from itlc.system.snapshots import Snapshots

T = TypeVar("T")
BATCH = 1_000
ON_ITS_WAY = timedelta(minutes=15)
"""For how long an event may be (see the invariant `sent_event_is_consumed`)."""

# Bids and orders: `itlc_orders`

COUNT_BIDS_AND_ORDERS = "SELECT (SELECT count(*) FROM bidding WHERE status = 'won') + (SELECT count(*) FROM orders)"
WRONG_BIDS = """
    SELECT 'bid:' || b.id AS name FROM bidding b LEFT JOIN orders o ON o.id = b.order_id
    WHERE (b.status = 'won' OR b.order_id IS NOT NULL) AND (
        o.id IS NULL OR b.status <> 'won' OR o.bid_id <> b.id OR o.user_id <> b.bidder_id
        OR o.service_id <> b.service_id OR o.amount <> b.amount OR o.provider_user_id <> b.provider_user_id
        OR o.provider_id <> b.provider_id
        -- of who has left, bids and orders lose their projects one after the other
        OR (o.project_id IS DISTINCT FROM b.project_id
            AND NOT EXISTS (SELECT FROM closed_accounts c WHERE c.user_id = b.bidder_id))
    )
    UNION ALL
    SELECT 'order:' || o.id FROM orders o LEFT JOIN bidding b ON b.id = o.bid_id
    WHERE b.id IS NULL OR b.order_id IS DISTINCT FROM o.id
"""


def check_bids(stores: Snapshots, tally: Tally) -> None:
    """Compare each won bid with its order, and each order with its bid."""
    orders = stores.of(postgres.orders)
    tally.look(orders.number(COUNT_BIDS_AND_ORDERS))
    for row in orders.rows(WRONG_BIDS):
        tally.report(row.name)


# Projects: `itlc_orders` and MongoDB

PROGRESS = """
    SELECT o.project_id, max(o.user_id) AS owner_id, p.status, coalesce(p.version, 0) AS version,
        coalesce(p.updated_at > now() - interval '2 minutes', false) AS young,
        coalesce(p.updated_at > now() - interval '15 minutes', false) AS recent,
        CASE
            WHEN count(*) FILTER (WHERE o.status <> 'cancelled') = 0 THEN 'open'
            WHEN bool_and(o.status IN ('paid', 'refunded', 'cancelled')) THEN 'paid'
            WHEN bool_and(o.status IN ('completed', 'paying', 'paid', 'refunded', 'cancelled')) THEN 'completed'
            ELSE 'in_progress'
        END AS counted
    FROM orders o LEFT JOIN project_progress p ON p.project_id = o.project_id
    WHERE o.project_id IS NOT NULL
    GROUP BY o.project_id, p.status, p.version, p.updated_at ORDER BY o.project_id COLLATE "C"
"""
ERASED_AMONG = "SELECT id FROM users WHERE id = ANY(CAST(:ids AS integer[])) AND erased_at IS NOT NULL"


def check_projects(stores: Snapshots, tally: Tally) -> None:
    """Compare each project's status with its orders, and with how MongoDB shows it."""
    orders = stores.of(postgres.orders)
    with mongo.projects.read() as documents:
        fields = {"status": 1, "status_version": 1, "updated_at": 1, "owner_id": 1}
        shown = documents.find({}, fields, batch_size=BATCH).sort("_id", 1)
        pairs = side_by_side(
            orders.rows(PROGRESS),
            stores.in_time(shown),
            lambda row: row.project_id,
            lambda document: str(document["_id"]),
        )
        for batch in batches(_wrong_projects(pairs, stores.documents_unseen_since, tally), BATCH):
            gone = _erased({owner_id for _, owner_id in batch})
            for project_id, owner_id in batch:
                if owner_id not in gone:
                    tally.report(f"project:{project_id}")


def _wrong_projects(
    pairs: Iterable[tuple[list[Any], list[Any]]], since: datetime, tally: Tally
) -> Iterator[tuple[str, int]]:
    """The ids of wrong projects with their owners': while one is being erased, projects and orders part ways."""
    for counted, shown in pairs:
        tally.look()
        progress, document = (counted[0] if counted else None), (shown[0] if shown else None)
        if wrong_project(progress, document, since):
            if progress is None:
                yield str(shown[0]["_id"]), shown[0]["owner_id"]
            else:
                yield progress.project_id, progress.owner_id


def wrong_project(progress: Any | None, document: Any | None, since: datetime) -> bool:
    """Whether a project's status does not follow from its orders.

    The document may be behind for as long as an event may be on its way, and ahead of the orders where it was changed
    `since` their snapshot was taken, for it is read last. Without a progress there are no orders.
    """
    if progress is not None and (progress.status or "open") != progress.counted:
        return True
    if document is None:
        return progress is not None and not progress.young
    version, status = (progress.version, progress.counted) if progress is not None else (0, "open")
    if (document.get("status_version"), document.get("status")) == (version, status):
        return False
    behind = progress is not None and progress.recent and document.get("status_version", 0) < version
    ahead = document.get("status_version", 0) > version and document["updated_at"] > since
    return not (behind or ahead)


def _erased(ids: set[int]) -> set[int]:
    """Who of these is erased by now: as late as the documents were read, and not when the snapshots were taken."""
    with postgres.users.read() as db:
        return {row.id for row in db.execute(text(ERASED_AMONG), {"ids": sorted(ids)})}


# Ratings: MongoDB and `itlc_api`

COUNT_SERVICES = "SELECT count(*) FROM services"
WRONG_SUMS = """
    SELECT 'service:' || s.id AS name FROM services s
    LEFT JOIN (
        SELECT service_id, count(*) AS ratings, sum(rating) AS marks FROM service_ratings GROUP BY service_id
    ) given ON given.service_id = s.id
    WHERE s.rating_count <> coalesce(given.ratings, 0) OR s.rating_sum <> coalesce(given.marks, 0)
    ORDER BY s.id
"""
KEPT_RATINGS = "SELECT order_id, service_id, rating, version FROM service_ratings ORDER BY order_id"


def check_ratings(stores: Snapshots, tally: Tally) -> None:
    """Compare how each service is rated with the ratings that it counted, and those with what was given."""
    catalog = stores.of(postgres.catalog)
    tally.look(catalog.number(COUNT_SERVICES))
    for row in catalog.rows(WRONG_SUMS):
        tally.report(row.name)
    since = stores.documents_unseen_since - ON_ITS_WAY
    with mongo.ratings.read() as documents:
        fields = {"order_id": 1, "service_id": 1, "user_id": 1, "rating": 1, "version": 1, "updated_at": 1}
        given = documents.find({}, fields, batch_size=BATCH).sort("order_id", 1)
        pairs = side_by_side(
            catalog.rows(KEPT_RATINGS),
            stores.in_time(given),
            lambda row: row.order_id,
            lambda document: document["order_id"],
        )
        for counted, shown in pairs:
            tally.look()
            if wrong_rating(counted[0] if counted else None, shown[0] if shown else None, since):
                tally.report(f"rating_of_order:{counted[0].order_id if counted else shown[0]['order_id']}")


def wrong_rating(counted: Any | None, document: Any | None, since: datetime) -> bool:
    """Whether what a service counted of an order's rating is not what the rating says.

    A rating that was changed `since` may not be counted yet; none can be counted before it is given, for ratings are
    read last. Erasing who gave it is a version of which no event tells, for the number stays.
    """
    if document is None:
        return counted is not None
    if counted is None or counted.version < document["version"] - (document["user_id"] is None):
        return bool(document["updated_at"] <= since)
    said = (counted.service_id, counted.rating)
    return counted.version > document["version"] or said != (document["service_id"], document["rating"])


# What is left of who is erased: everywhere

COUNT_USERS = "SELECT count(*) FROM users"
ERASED = "SELECT id FROM users WHERE erased_at < now() - interval '15 minutes' ORDER BY id"
ERASED_OF = f"{ERASED_AMONG} AND erased_at < now() - interval '15 minutes'"
THEM = "ANY(CAST(:ids AS integer[]))"
KEYS = """
    SELECT 'key:' || json_build_array(caller, operation, key) AS name FROM idempotency_keys
    WHERE caller IN (SELECT 'user:' || id FROM unnest(CAST(:ids AS integer[])) ids (id))
"""
# What is to go, and what has to be in its place, is in the table of decision 24.
LEFT = {
    "itlc_users": f"""
        SELECT 'user:' || id AS name FROM users
        WHERE id = {THEM} AND (tokens > 0 OR is_admin OR name <> '(erased)' OR email <> 'erased-' || id || '@invalid')
        UNION ALL
        SELECT 'session:' || id FROM sessions
        WHERE user_id = {THEM} AND ended_at IS NULL AND expires_at > now()
        UNION ALL
        SELECT DISTINCT 'refresh_token_of_user:' || s.user_id
        FROM refresh_tokens r JOIN sessions s ON s.id = r.session_id
        WHERE s.user_id = {THEM}
        UNION ALL
        SELECT DISTINCT 'password_reset_of_user:' || user_id FROM password_resets WHERE user_id = {THEM}
        UNION ALL
        SELECT DISTINCT 'known_address_of_user:' || user_id FROM known_addresses WHERE user_id = {THEM}
    """,  # noqa: S608 - of constants
    "itlc_api": f"""
        SELECT 'provider:' || id AS name FROM providers
        WHERE user_id = {THEM}
            AND (erased_at IS NULL OR name <> '(erased)' OR email <> 'erased-' || id || '@invalid')
        UNION ALL
        SELECT 'service:' || s.id FROM services s JOIN providers p ON p.id = s.provider_id
        WHERE p.user_id = {THEM} AND s.status = 'offered'
    """,  # noqa: S608 - of constants
    "itlc_orders": f"""
        SELECT 'bid:' || id AS name FROM bidding
        WHERE (status = 'open' AND (bidder_id = {THEM} OR provider_user_id = {THEM}))
            OR (bidder_id = {THEM} AND (project_id IS NOT NULL OR message IS NOT NULL))
        UNION ALL
        SELECT 'order:' || id FROM orders
        WHERE (user_id = {THEM} OR provider_user_id = {THEM}) AND (
            status IN ('created', 'in_progress', 'completed', 'paying')
            OR (project_id IS NOT NULL AND user_id = {THEM})
            OR (cancel_reason IS NOT NULL AND cancelled_by = {THEM})
        )
        UNION ALL
        SELECT 'checkin:' || c.id FROM checkins c JOIN orders o ON o.id = c.order_id
        WHERE o.provider_user_id = {THEM} AND c.note IS NOT NULL
        UNION ALL
        SELECT 'project_progress:' || project_id FROM project_progress WHERE owner_id = {THEM}
        UNION ALL
        SELECT 'payment:' || id FROM payments
        WHERE customer_id = {THEM} AND status <> 'paying' AND (project_id IS NOT NULL OR key <> '')
        UNION ALL
        SELECT 'refund:' || r.id FROM refunds r JOIN orders o ON o.id = r.order_id
        WHERE o.provider_user_id = {THEM} AND r.key_caller = 'user:' || o.provider_user_id AND r.key <> ''
        UNION ALL
        SELECT 'notification:' || id FROM notifications WHERE user_id = {THEM}
    """,  # noqa: S608 - of constants
    "itlc_tokens": f"""
        SELECT 'topup:' || id AS name FROM token_topups WHERE status = 'pending' AND user_id = {THEM}
    """,  # noqa: S608 - of constants
}
LEFT_DOCUMENTS = (
    (mongo.projects, "project", "owner_id"),
    (mongo.blogs, "blog", "user_id"),
    (mongo.faqs, "faq", "user_id"),
    (mongo.reviews, "review", "user_id"),
    (mongo.ratings, "rating", "user_id"),
)
WORDS_OF_NOBODY = {"user_id": None, "review": {"$ne": None}}
KEYED = {"idempotency.key": {"$exists": True}}
KEYS_IN_GRAPH = """
    MATCH (k:IdempotencyKey) WHERE k.identity > $after
    RETURN k.identity AS next ORDER BY k.identity LIMIT $limit
"""
PLANNED_ORDERS = """
    MATCH (s:OrderStep) WHERE s.order_id > $after AND s.step_number IS NOT NULL
    RETURN DISTINCT s.order_id AS next ORDER BY s.order_id LIMIT $limit
"""
ORDERS_AMONG = "SELECT id FROM orders WHERE id = ANY(CAST(:ids AS integer[]))"


def check_erased(stores: Snapshots, tally: Tally) -> None:
    """Look everywhere for what is left of users who were erased a quarter of an hour ago, a thousand at a time; and for
    steps of orders that are not there."""
    users = stores.of(postgres.users)
    held = [(stores.of(database), LEFT.get(database.name)) for database in postgres.DATABASES]
    tally.look(users.number(COUNT_USERS))
    for batch in batches(users.rows(ERASED), BATCH):
        ids = [row.id for row in batch]
        for snapshot, left in held:
            for query in (left, KEYS) if left else (KEYS,):
                for row in snapshot.rows(query, ids=ids):
                    tally.report(row.name)
        for store, what, owner in LEFT_DOCUMENTS:
            with store.read() as documents:
                for document in stores.in_time(documents.find({owner: {"$in": ids}}, {"_id": 1})):
                    tally.report(f"{what}:{document['_id']}")
    with mongo.ratings.read() as documents:
        for document in stores.in_time(documents.find(WORDS_OF_NOBODY, {"_id": 1})):
            tally.report(f"rating:{document['_id']}")
    for keys in batches(chain(_keys_in_documents(stores), stores.in_time(_each(KEYS_IN_GRAPH, ""))), BATCH):
        owners = {key: _user_of(key) for key in keys}
        of_users = sorted({user_id for user_id in owners.values() if user_id is not None})
        gone = {row.id for row in users.rows(ERASED_OF, ids=of_users)}
        for key in keys:
            if owners[key] in gone:
                tally.report(f"key:{key}")
    for order_ids in batches(stores.in_time(_each(PLANNED_ORDERS, 0)), BATCH):
        with postgres.orders.read() as db:  # asked anew: the graph is read later than the snapshots
            there = {row.id for row in db.execute(text(ORDERS_AMONG), {"ids": order_ids})}
        for order_id in order_ids:
            tally.look()
            if order_id not in there:
                tally.report(f"steps_of_order:{order_id}")


def _keys_in_documents(stores: Snapshots) -> Iterator[str]:
    for store in mongo.STORES:
        with store.read() as documents:
            for document in stores.in_time(documents.find(KEYED, {"idempotency.key": 1}, batch_size=BATCH)):
                yield document["idempotency"]["key"]


def _each(query: str, after: T) -> Iterator[T]:
    """What a query returns of the graph, which gives the `next` ones after one, page by page."""
    more = True
    while more:
        page: list[T] = neo4j.graph.read(partial(_page, query=query, after=after))
        yield from page
        more = len(page) == BATCH
        after = page[-1] if page else after


def _page(graph: neo4j.GraphTransaction, query: str, after: object) -> list[Any]:
    return [record["next"] for record in graph.run(query, after=after, limit=BATCH)]


def _user_of(key: str) -> int | None:
    """Whose key it is that is named so (`["user:12", …]`); None where it is no user's."""
    kind, _, number = str(json.loads(key)[0]).partition(":")
    return int(number) if kind == "user" and number.isdecimal() else None
