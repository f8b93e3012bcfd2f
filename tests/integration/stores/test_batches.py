"""Whatever works in batches takes no more than its batch at a time, however much there is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from itlc.accounts import expiry
from itlc.bids import repository as bids
from itlc.events import event
from itlc.notifications import repository as notifications
from itlc.orders import repository as orders
from itlc.stores import inbox, keys, mongo, neo4j, outbox, postgres, request_counts
from itlc.stores.postgres import Database
from itlc.wallet import repository as wallet
from itlc.wallet import unfinished

from tests.support.stack import Stores

DAY = timedelta(days=1)
LONG_AGO = "now() - interval '1 year'"
THREE = "FROM generate_series(1, 3) n"
USERS = f"INSERT INTO users (id, name, email, password) SELECT n, 'x', n || '@example.org', '-' {THREE}"
SESSIONS = (
    f"INSERT INTO sessions (id, user_id, expires_at) SELECT gen_random_uuid(), n, now() + interval '1 day' {THREE}"
)
BIDS = (
    "INSERT INTO bidding (bidder_id, amount, service_id, provider_id, provider_user_id, created_at) "
    f"SELECT 1, 5, 1, 1, 2, {LONG_AGO} {THREE}"
)
NOTIFICATIONS = (
    "INSERT INTO notifications (user_id, message, read_status, about, event_id, created_at) "
    f"SELECT 1, 'x', true, 'order:1', gen_random_uuid(), {LONG_AGO} {THREE}"
)
UNDER_KEY = "key_caller, key_operation, key, key_fingerprint, created_at"


@dataclass(frozen=True)
class Batch:
    """What `take`, called with a limit, takes of the three rows that `rows` make."""

    name: str
    database: Database
    rows: tuple[str, ...]
    take: Callable[[Any, int], Any]

    def __str__(self) -> str:
        return self.name


BATCHES = (
    Batch(
        "spent keys",
        postgres.tokens,
        (
            "INSERT INTO idempotency_keys (caller, operation, key, fingerprint, expires_at) "
            f"SELECT 'user:1', 'top_up', n, '-', {LONG_AGO} {THREE}",
        ),
        keys.purge,
    ),
    Batch(
        "sent events",
        postgres.orders,
        (
            "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) "
            f"SELECT gen_random_uuid(), 'payments', 'x', 'x', '{{}}', {LONG_AGO} {THREE}",
        ),
        lambda db, limit: outbox.purge(db, DAY, limit),
    ),
    Batch(
        "received messages",
        postgres.orders,
        (f"INSERT INTO inbox (consumer, message_id, received_at) SELECT 'x', gen_random_uuid(), {LONG_AGO} {THREE}",),
        lambda db, limit: inbox.purge(db, DAY, limit),
    ),
    Batch(
        "counts of requests",
        postgres.orders,
        (f"INSERT INTO request_counts (subject, window_end, count) SELECT n, {LONG_AGO}, 1 {THREE}",),
        request_counts.purge,
    ),
    Batch(
        "sessions",
        postgres.users,
        (USERS, SESSIONS, f"UPDATE sessions SET ended_at = {LONG_AGO}"),
        expiry.purge_sessions,
    ),
    Batch(
        "refresh tokens",
        postgres.users,
        (
            USERS,
            SESSIONS,
            f"INSERT INTO refresh_tokens (hash, session_id, spent_at) SELECT user_id, id, {LONG_AGO} FROM sessions",
        ),
        expiry.purge_refresh_tokens,
    ),
    Batch(
        "resets",
        postgres.users,
        (
            USERS,
            "INSERT INTO password_resets (hash, user_id, event_id, expires_at) "
            f"SELECT n, n, gen_random_uuid(), {LONG_AGO} {THREE}",
        ),
        expiry.purge_resets,
    ),
    Batch(
        "failures to sign in",
        postgres.users,
        (f"INSERT INTO sign_in_failures (subject, kind, failures, last_at) SELECT n, 'pair', 1, {LONG_AGO} {THREE}",),
        expiry.purge_failures,
    ),
    Batch(
        "known addresses",
        postgres.users,
        (USERS, f"INSERT INTO known_addresses (user_id, address, last_seen_at) SELECT n, n, {LONG_AGO} {THREE}"),
        expiry.purge_addresses,
    ),
    Batch(
        "notifications that were read",
        postgres.orders,
        (NOTIFICATIONS,),
        lambda db, limit: notifications.purge_read(db, DAY, limit),
    ),
    Batch(
        "notifications that are marked",
        postgres.orders,
        (NOTIFICATIONS, "UPDATE notifications SET read_status = false"),
        lambda db, limit: notifications.mark_read(db, 1, limit),
    ),
    Batch(
        "notifications of who leaves",
        postgres.orders,
        (NOTIFICATIONS,),
        lambda db, limit: notifications.remove_all(db, 1, limit),
    ),
    Batch(
        "bids that expire",
        postgres.orders,
        (BIDS,),
        lambda db, limit: len(bids.expire(db, DAY, limit)),
    ),
    Batch(
        "bids of who leaves",
        postgres.orders,
        (BIDS,),
        lambda db, limit: len(bids.open_bids_for_change(db, 1, limit)),
    ),
    Batch(
        "closings of projects",
        postgres.orders,
        (f"INSERT INTO closed_projects (project_id, closed_at) SELECT n, {LONG_AGO} {THREE}",),
        lambda db, limit: _gone(db, "closed_projects", lambda: orders.forget_lapsed(db, DAY, limit)),
    ),
    Batch(
        "payments under way",
        postgres.orders,
        (
            f"INSERT INTO payments (id, customer_id, tokens, rate, status, {UNDER_KEY}) "
            f"SELECT gen_random_uuid(), 1, 5, 1, 'paying', 'user:1', 'pay_order', n, '-', {LONG_AGO} {THREE}",
        ),
        lambda db, limit: len(unfinished.payments_under_way(db, DAY, None, limit)),
    ),
    Batch(
        "refunds under way",
        postgres.orders,
        (
            "INSERT INTO orders (user_id, service_id, amount, status, bid_id, provider_id, provider_user_id) "
            f"SELECT 1, 1, 5, 'paid', n, 1, 2 {THREE}",
            f"INSERT INTO refunds (id, order_id, amount, tokens, status, {UNDER_KEY}) "
            f"SELECT gen_random_uuid(), id, 5, 5, 'refunding', 'user:2', 'refund_order', id, '-', {LONG_AGO} "
            "FROM orders",
        ),
        lambda db, limit: len(unfinished.refunds_under_way(db, DAY, None, limit)),
    ),
    Batch(
        "full escrows",
        postgres.users,
        (f"INSERT INTO full_escrows (account, created_at) SELECT 'escrow:' || n, {LONG_AGO} {THREE}",),
        lambda db, limit: len(unfinished.full_escrows(db, DAY, None, limit)),
    ),
    Batch(
        "stuck top-ups",
        postgres.tokens,
        (f"INSERT INTO token_topups (user_id, amount, made_by, created_at) SELECT 1, 5, 1, {LONG_AGO} {THREE}",),
        lambda db, limit: len(wallet.stuck_topups(db, DAY, 0, limit)),
    ),
    Batch(
        "top-ups of who leaves",
        postgres.tokens,
        (f"INSERT INTO token_topups (user_id, amount, made_by) SELECT 1, 5, 1 {THREE}",),
        lambda db, limit: len(wallet.pending_topups_of(db, 1, 0, limit)),
    ),
)


def _gone(db: Any, table: str, work: Callable[[], object]) -> int:
    count = f"SELECT count(*) FROM {table}"
    before = int(db.exec_driver_sql(count).scalar_one())
    work()
    return before - int(db.exec_driver_sql(count).scalar_one())


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_a_batch_of_rows_has_its_limit(stores: Stores, batch: Batch) -> None:
    for statement in batch.rows:
        stores.rows(batch.database.name, statement)
    assert batch.database.write(lambda db: batch.take(db, 2)) == 2


def test_a_batch_of_documents_has_its_limit(stores: Stores) -> None:
    past = datetime.now(UTC) - DAY
    documents = stores.mongo["itlc_pbfr"]
    documents["projects"].insert_many(
        [{"name": "x", "idempotency": {"key": str(number), "expires_at": past}} for number in range(3)]
    )
    documents["request_counts"].insert_many([{"_id": str(number), "window_end": past} for number in range(3)])
    with mongo.projects.read() as projects:
        assert mongo.purge_keys(projects, 2) == 2
    assert len(stores.documents("projects", {"idempotency": {"$exists": True}})) == 1
    assert mongo.purge_counts(2) == 2
    documents["sent_events"].insert_many([{"_id": str(number), "published_at": past} for number in range(3)])
    assert mongo.purge_sent(timedelta(), 2) == 2
    for number in range(3):
        waiting = mongo.outbox_entry(event("notifications", "notice", "order:1", {"message": str(number)}))
        documents["reviews"].insert_one({"review": "x", "outbox": [{**waiting, "claimed_until": past}]})
    with mongo.reviews.read() as reviews:
        assert mongo.relay(reviews, 2) == (2, 2)


def test_a_batch_of_nodes_has_its_limit(stores: Stores) -> None:
    stores.graph("UNWIND range(1, 3) AS n CREATE (:IdempotencyKey {identity: n, expires_at: datetime('2020-01-01')})")
    stores.graph("UNWIND range(1, 3) AS n CREATE (:RequestCount {id: n, window_end: datetime('2020-01-01')})")
    for purge in (neo4j.purge_keys, neo4j.purge_counts):
        assert neo4j.graph.write(lambda graph, purge=purge: purge(graph, 2)) == 2  # type: ignore[misc]
    stores.graph(
        "UNWIND range(1, 6) AS n "
        "CREATE (:SentEvent {id: toString(n), user_ids: [1], published_at: datetime('2020-01-01')})"
    )
    assert neo4j.graph.write(lambda graph: neo4j.purge_sent(graph, DAY, 2)) == 2
    neo4j.graph.write(lambda graph: neo4j.forget_notices(graph, 1, [], neo4j.BEFORE_ALL, 2))
    assert len(stores.graph("MATCH (e:SentEvent) RETURN e.id")) == 2
