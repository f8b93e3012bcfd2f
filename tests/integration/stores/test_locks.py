"""What is read in order to be changed is locked until the transaction ends, several rows in the order of their ids; and
what removes or ends old rows passes over those that somebody is just changing."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from itlc.accounts import expiry
from itlc.accounts import repository as accounts
from itlc.bids import repository as bids
from itlc.catalog import repository as catalog
from itlc.idempotency import Answer, Key
from itlc.limits import CLOCKS_APART
from itlc.notifications import repository as notifications
from itlc.orders import repository as orders
from itlc.stores import keys, postgres, request_counts
from itlc.stores.postgres import Database
from itlc.templates import repository as templates
from itlc.wallet import refunds
from itlc.wallet import repository as wallet
from sqlalchemy import Connection, NullPool

from tests.support.market import member, open_bid, order_in, service_of
from tests.support.stack import Stores
from tests.support.waiting import eventually

Work = Callable[[Connection], Any]
PROJECT = "665f1f77bcf86cd799439011"
PAYMENT, REFUND = uuid.UUID(int=1), uuid.UUID(int=3)
ADA, BOB = 1, 2


@pytest.fixture(scope="module")
def market(all_stores: Stores) -> Stores:
    """Ada, who has two orders of a project and two open bids, and Bob, from whom she buys; two rows at least of all
    that is locked. The rows with the lowest ids come last in their tables, where whoever does not ask for an order
    finds them last."""
    all_stores.empty()
    ada, bob = member("Ada"), member("Bob")
    assert (ada.user_id, bob.user_id) == (ADA, BOB)
    service = service_of(bob)
    for _ in range(2):
        order_in("completed", ada, bob, project_id=PROJECT, service_id=service)
        open_bid(ada, service)
    for statement in ROWS["itlc_users"]:
        all_stores.rows("itlc_users", statement)
    for statement in ROWS["itlc_orders"]:
        all_stores.rows("itlc_orders", statement)
    for statement in ROWS["itlc_templates"]:
        all_stores.rows("itlc_templates", statement)
    service_of(member("Cy"), "Digging")
    for database, table in (("itlc_users", "users"), ("itlc_orders", "orders"), ("itlc_orders", "bidding")):
        first = f"SELECT min(id) FROM {table}" + (" WHERE status = 'open'" if table == "bidding" else "")
        all_stores.rows(database, f"UPDATE {table} SET id = id WHERE id = ({first})")
    return all_stores


ROWS = {
    "itlc_users": (
        "INSERT INTO sessions (id, user_id, expires_at) "
        "SELECT md5(id::text)::uuid, id, now() + interval '1 day' FROM users",
        "INSERT INTO refresh_tokens (hash, session_id) SELECT 'of ' || id, md5(id::text)::uuid FROM users",
        "INSERT INTO erasures (user_id, names, emails) SELECT id, '[]', '[]' FROM users",
    ),
    "itlc_orders": (
        "INSERT INTO payments (id, customer_id, tokens, rate, status, key_caller, key_operation, key, key_fingerprint) "
        f"SELECT id::uuid, 1, 120, 1, 'paying', 'user:1', 'pay_order', id, '-' FROM "
        f"(VALUES ('{PAYMENT}'), ('{uuid.UUID(int=2)}')) AS two (id)",
        "INSERT INTO project_progress (project_id, owner_id, status, version) "
        "VALUES ('another', 1, 'open', 1), ('later', 1, 'open', 1), ('earlier', 1, 'open', 1)",
        "INSERT INTO refunds (id, order_id, amount, tokens, status, key_caller, key_operation, key, key_fingerprint) "
        f"VALUES ('{REFUND}', 1, 5, 5, 'refunding', 'user:2', 'refund_order', 'k', '-')",
        "INSERT INTO notifications (user_id, message, about, event_id) "
        "SELECT 1, 'x', 'order:1', gen_random_uuid() FROM generate_series(1, 2)",
    ),
    "itlc_templates": (
        "INSERT INTO template_store (name, description, type) SELECT 'a', 'b', 'service' FROM generate_series(1, 2)",
    ),
}
"""What the market's builders do not make."""


@contextmanager
def within(database: Database, work: Work) -> Iterator[None]:
    """Run a block while the transaction of `work` is open; then that one commits."""
    engine = database._engine(10, poolclass=NullPool)
    with engine.connect() as connection:
        connection.info["database"] = database
        with connection.begin():
            work(connection)
            yield


def locked(stores: Stores, database: Database, table: str, key: str) -> set[Any]:
    """The keys of those rows of a table that somebody has locked at this moment."""
    every, free = (
        {row[key] for row in stores.rows(database.name, f"SELECT {key} FROM {table} {how}")}
        for how in ("", "FOR NO KEY UPDATE SKIP LOCKED")
    )
    return every - free


@dataclass(frozen=True)
class Locks:
    """Rows that are read to be changed: by what, and which, by their `key`."""

    by: Callable[..., Any]
    arguments: tuple[Any, ...]
    database: Database
    table: str
    rows: set[Any]
    key: str = "id"

    def __str__(self) -> str:
        return f"{self.by.__module__.split('.')[1]}.{self.by.__name__} {self.table}"

    def take(self, db: Connection) -> Any:
        """Read them."""
        return self.by(db, *self.arguments)


SEVERAL = (
    Locks(wallet.holders_for_change, ([BOB, ADA],), postgres.users, "users", {ADA, BOB}),
    Locks(orders.orders_for_change, ([2, 1],), postgres.orders, "orders", {1, 2}),
    Locks(orders.orders_of_project_for_change, (PROJECT,), postgres.orders, "orders", {1, 2}),
    Locks(orders.orders_of_party_for_change, (BOB, ["completed"]), postgres.orders, "orders", {1, 2}),
    Locks(bids.open_bids_for_change, (BOB, 9), postgres.orders, "bidding", {2, 4}),
    Locks(
        orders.all_progress_for_change,
        (["later", "earlier"],),
        postgres.orders,
        "project_progress",
        {"earlier", "later"},
        key="project_id",
    ),
)
SINGLE = (
    Locks(wallet.payment_for_change, (PAYMENT,), postgres.orders, "payments", {PAYMENT}),
    Locks(orders.order_for_change, (1,), postgres.orders, "orders", {1}),
    Locks(refunds._end, (REFUND, "settled"), postgres.orders, "orders", {1}),
    Locks(orders.progress_for_change, (PROJECT,), postgres.orders, "project_progress", {PROJECT}, key="project_id"),
    Locks(bids.bid_for_change, (2,), postgres.orders, "bidding", {2}),
    Locks(notifications.notification_for_change, (1,), postgres.orders, "notifications", {1}),
    Locks(accounts.user_for_change, (ADA,), postgres.users, "users", {ADA}),
    Locks(accounts.refresh_token_for_spending, ("of 1",), postgres.users, "refresh_tokens", {"of 1"}, key="hash"),
    Locks(accounts.refresh_token_for_spending, ("of 1",), postgres.users, "sessions", {ADA}, key="user_id"),
    Locks(accounts.erasure_for_change, (ADA,), postgres.users, "erasures", {ADA}, key="user_id"),
    Locks(catalog.provider_for_change, (1,), postgres.catalog, "providers", {1}),
    Locks(catalog.profile_of_user, (BOB,), postgres.catalog, "providers", {1}),
    Locks(catalog.service_for_change, (1,), postgres.catalog, "services", {1}),
    Locks(templates.one_for_change, (1,), postgres.templates, "template_store", {1}),
)


@pytest.mark.parametrize("locks", [*SEVERAL, *SINGLE], ids=str)
def test_what_is_read_to_be_changed_is_locked_and_nothing_else(market: Stores, locks: Locks) -> None:
    with within(locks.database, locks.take):
        assert locked(market, locks.database, locks.table, locks.key) == locks.rows
    assert locked(market, locks.database, locks.table, locks.key) == set()


@pytest.mark.parametrize("locks", SEVERAL, ids=str)
def test_several_are_locked_in_the_order_of_their_ids(market: Stores, locks: Locks) -> None:
    """So whoever waits for the first of them has none of the others, and nobody waits in a circle."""
    first = min(locks.rows)
    waiting = "SELECT count(*) AS locks FROM pg_locks WHERE NOT granted"

    def lock_first(db: Connection) -> None:
        db.exec_driver_sql(f"SELECT 1 FROM {locks.table} WHERE {locks.key} = %s FOR NO KEY UPDATE", (first,))

    def take(db: Connection) -> None:
        for way in ("indexscan", "bitmapscan"):  # which would come upon them in this order by chance
            db.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        locks.take(db)

    with ThreadPoolExecutor(1) as pool:
        with within(locks.database, lock_first):
            second = pool.submit(locks.database.write, take)
            eventually(
                lambda: market.rows(locks.database.name, waiting)[0]["locks"] > 0 or second.done(),
                "the other one waits for the first row",
                within=2,
                pause=0.02,
            )
            assert not second.done()
            assert locked(market, locks.database, locks.table, locks.key) == {first}
        second.result(timeout=10)


# What removes old rows


KEY = Key("user:1", "top_up", "k", "-")
LONG_AGO = "now() - interval '1 year'"


@dataclass(frozen=True)
class Renewed:
    """An old row that somebody is just changing, and what removes old ones, or ends them."""

    database: Database
    table: str
    old: str
    renew: Work
    remove: Work
    left: int = 1

    def __str__(self) -> str:
        return f"{self.database.name}.{self.table}"


def sql(statement: str) -> Work:
    """A transaction of one statement."""
    return lambda db: db.exec_driver_sql(statement)


RENEWED = (
    Renewed(
        postgres.tokens,
        "idempotency_keys",
        "(caller, operation, key, fingerprint, status, headers, body, expires_at) "
        f"VALUES ('user:1', 'top_up', 'k', '-', 201, '{{}}', 'old', {LONG_AGO})",
        lambda db: postgres.keys.keep(db, KEY, Answer(201, "new")),
        lambda db: keys.purge(db, 9),
    ),
    Renewed(
        postgres.orders,
        "bidding",
        "(bidder_id, amount, service_id, provider_id, provider_user_id, created_at) "
        f"VALUES (1, 5, 1, 1, 2, {LONG_AGO})",
        sql("UPDATE bidding SET status = 'rejected'"),
        lambda db: bids.expire(db, timedelta(days=30), 9),
    ),
    Renewed(
        postgres.orders,
        "closed_projects",
        f"(project_id, closed_at) VALUES ('{PROJECT}', {LONG_AGO})",
        sql("DELETE FROM closed_projects"),
        lambda db: orders.forget_lapsed(db, timedelta(minutes=5), 9),
        left=0,
    ),
    Renewed(
        postgres.orders,
        "notifications",
        "(user_id, message, read_status, about, event_id, created_at) "
        f"VALUES (1, 'x', true, 'order:1', gen_random_uuid(), {LONG_AGO})",
        sql("UPDATE notifications SET read_status = false"),
        lambda db: notifications.purge_read(db, timedelta(days=90), 9),
    ),
    Renewed(
        postgres.orders,
        "request_counts",
        f"(subject, window_end, count) VALUES ('user:1', now() - interval '{2 * CLOCKS_APART.seconds + 60} s', 1)",
        sql("UPDATE request_counts SET count = count + 1"),
        lambda db: request_counts.purge(db, 9),
    ),
    Renewed(
        postgres.users,
        "sign_in_failures",
        f"(subject, kind, failures, last_at) VALUES ('a', 'pair', 1, {LONG_AGO})",
        sql("UPDATE sign_in_failures SET last_at = now()"),
        lambda db: expiry.purge_failures(db, 9),
    ),
)


@pytest.mark.parametrize("renewed", RENEWED, ids=str)
def test_an_old_row_that_is_just_changed_is_passed_over_and_waited_for_by_nobody(
    stores: Stores, renewed: Renewed
) -> None:
    """Who waited would wait in vain, for the transaction that changes it ends after the other one."""
    stores.rows(renewed.database.name, f"INSERT INTO {renewed.table} {renewed.old}")
    with within(renewed.database, renewed.renew):
        renewed.database.write(renewed.remove)
    assert len(stores.rows(renewed.database.name, f"SELECT * FROM {renewed.table}")) == renewed.left
