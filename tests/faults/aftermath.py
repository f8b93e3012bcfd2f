"""After a fault: time passes, the jobs run, the queues empty; then what is in the stores can be looked at."""

import time
from collections import Counter
from datetime import timedelta
from typing import Any

from itlc.operation import Deadline
from itlc.stores import mongo
from itlc.stores.postgres import DATABASES
from itlc.system.reconciliation import reconcile

from tests.support.calling import run_scheduled
from tests.support.money import ledger_holds
from tests.support.queues import drain
from tests.support.stack import Stores

AGED = {
    "outbox": ("created_at", "claimed_until", "published_at"),
    "inbox": ("received_at",),
    "audit": ("created_at",),
    "transfers": ("created_at",),
    "full_escrows": ("created_at",),
    "payments": ("created_at",),
    "refunds": ("created_at",),
    "token_topups": ("created_at",),
    "users": ("erased_at",),
    "notifications": ("created_at",),
    "project_progress": ("updated_at",),
    "closed_projects": ("closed_at",),
}
"""The times that jobs and reconciliation go by."""

SEEN = {
    "itlc_users": (
        "SELECT 'user', name, tokens, erased_at IS NOT NULL FROM users",
        "SELECT 'transfer', kind, split_part(debit_account, ':', 1), debit_user_id, "
        "split_part(credit_account, ':', 1), credit_user_id, tokens FROM transfers",
        "SELECT 'act', actor_id, action, split_part(object, ':', 1) FROM audit",
    ),
    "itlc_api": (
        "SELECT 'service', name, status, rating_count, rating_sum FROM services",
        "SELECT 'profile', erased_at IS NOT NULL FROM providers",
        "SELECT 'act', actor_id, action, split_part(object, ':', 1) FROM audit",
    ),
    "itlc_orders": (
        "SELECT 'order', user_id, provider_user_id, status, amount, tokens_charged, refunded_amount, refunded_tokens, "
        "completed_at IS NOT NULL, paid_at IS NOT NULL FROM orders",
        "SELECT 'bid', bidder_id, amount, status, order_id IS NOT NULL FROM bidding",
        "SELECT 'checkin', status, note FROM checkins",
        "SELECT 'payment', customer_id, tokens, status FROM payments",
        "SELECT 'covered', tokens, provider_user_id, declined FROM payment_orders",
        "SELECT 'refund', amount, tokens, status FROM refunds",
        "SELECT 'project', status FROM project_progress",
        "SELECT 'told', user_id, regexp_replace(message, '\\d+', '#', 'g') FROM notifications",
        "SELECT 'act', actor_id, action, split_part(object, ':', 1) FROM audit",
        "SELECT 'closed', user_id FROM closed_accounts",
    ),
    "itlc_tokens": ("SELECT 'topup', user_id, amount, status FROM token_topups",),
}
"""What a person would say has happened: without ids, for a sequence leaves gaps, and without times."""

SEEN_DOCUMENTS = {
    "projects": ("name", "status"),
    "ratings": ("rating", "review", "user_id"),
    "reviews": ("review", "user_id"),
    "blogs": ("title",),
}


def let_time_pass(stores: Stores, minutes: int) -> None:
    """Everything that is remembered happened so many minutes earlier."""
    for database in DATABASES:
        shifts = "; ".join(
            f"UPDATE {table} SET "
            + ", ".join(f"{column} = {column} - interval '{minutes} minutes'" for column in AGED[table])
            for table in AGED
            if table in database.metadata.tables
        )
        stores.rows(database.name, f"DO $$ BEGIN {shifts}; END $$")
    for store in mongo.STORES:
        documents = stores.mongo["itlc_pbfr"][store.collection]
        for document in documents.find({"outbox.claimed_until": {"$exists": True}}, {"outbox": 1}):
            for entry in document["outbox"]:
                for moment in ("created_at", "claimed_until"):
                    entry[moment] -= timedelta(minutes=minutes)
            documents.update_one({"_id": document["_id"]}, {"$set": {"outbox": document["outbox"]}})
    for collection in ("projects", "ratings"):
        documents = stores.mongo["itlc_pbfr"][collection]
        for document in documents.find({}, {"updated_at": 1}):
            earlier = document["updated_at"] - timedelta(minutes=minutes)
            documents.update_one({"_id": document["_id"]}, {"$set": {"updated_at": earlier}})
    sent = stores.mongo["itlc_pbfr"]["sent_events"]
    for document in sent.find({}, {"published_at": 1}):
        earlier = document["published_at"] - timedelta(minutes=minutes)
        sent.update_one({"_id": document["_id"]}, {"$set": {"published_at": earlier}})
    stores.graph(
        "MATCH (e:SentEvent) SET e.published_at = e.published_at - duration({minutes: $minutes})", minutes=minutes
    )
    stores.graph(
        "MATCH (o:Outbox) SET o.created_at = o.created_at - duration({minutes: $minutes}), "
        "o.claimed_until = o.claimed_until - duration({minutes: $minutes})",
        minutes=minutes,
    )


def recover(stores: Stores) -> None:
    """Let time pass and have the jobs and the queues do their work, until nothing is left to do."""
    for _ in range(10):
        let_time_pass(stores, 5)
        relayed = run_scheduled("relay_outbox")
        resumed = run_scheduled("resume_payments")
        assert relayed["failed"] == relayed["unsent"] == resumed["left"] == 0, (relayed, resumed)
        if drain() == 0 and relayed["sent"] == resumed["resumed"] == 0:
            return
    raise AssertionError("there is still something to do after ten rounds")


def seen(stores: Stores) -> Counter[tuple[Any, ...]]:
    """What has happened, as people see it: each thing, with how often it is there."""
    things: Counter[tuple[Any, ...]] = Counter()
    for database, queries in SEEN.items():
        for query in queries:
            things.update(tuple(row.values()) for row in stores.rows(database, query))
    for collection, fields in SEEN_DOCUMENTS.items():
        things.update((collection, *map(document.get, fields)) for document in stores.documents(collection))
    steps = stores.graph("MATCH (s:OrderStep) RETURN s.step_number AS number, s.completed_at IS NOT NULL AS done")
    things.update(("step", step["number"], step["done"]) for step in steps)
    return things


def all_holds(stores: Stores) -> None:
    """Assert every invariant of reconciliation, as it will be seen in twenty minutes, and those of the money."""
    let_time_pass(stores, 20)
    findings = reconcile(Deadline(time.monotonic() + 60)).findings
    assert {finding.name: finding.rows for finding in findings if finding.state != "holds"} == {}
    ledger_holds(stores)
