"""What the databases refuse whatever the code does: each rule is there as the tables declare it, and each holds."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from itlc.stores.postgres import DATABASES, Database, constraint
from sqlalchemy import CheckConstraint, Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from infra.local.stack import Endpoints
from tests.support.market import member, open_bid, order_in, service_of
from tests.support.money import give
from tests.support.stack import Stores

CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE contype IN ('c', 'u', 'p', 'f') AND connamespace = current_schema()::regnamespace"
)
INDEXES = "SELECT tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
Rules = dict[tuple[str, str], str]
"""By table and name, what a rule says."""


def _rules(connection: Connection, query: str) -> Rules:
    """All rules of the current schema, without the schema's name."""
    found = connection.execute(text(query)).all()
    return {
        (table, name): re.sub(r"\b(public|declared)\.", "", says)
        for table, name, says in found
        if "alembic" not in table
    }


@contextmanager
def _declared(connection: Connection, database: Database) -> Iterator[None]:
    """Run a block in a schema that is made of what the tables declare, and is gone afterwards."""
    connection.execute(text("CREATE SCHEMA declared"))
    connection.execute(text("SET LOCAL search_path TO declared"))
    database.metadata.create_all(connection, checkfirst=False)
    try:
        yield
    finally:
        connection.rollback()


@pytest.mark.parametrize("database", DATABASES, ids=lambda database: database.name)
def test_the_migrations_make_every_rule_that_the_tables_declare_and_no_other(
    endpoints: Endpoints, database: Database
) -> None:
    url = make_url(endpoints.postgres[database.name].owner_url).set(drivername="postgresql+pg8000")
    with create_engine(url).connect() as connection:
        migrated = [_rules(connection, query) for query in (CONSTRAINTS, INDEXES)]
        with _declared(connection, database):
            declared = [_rules(connection, query) for query in (CONSTRAINTS, INDEXES)]
    assert all(migrated)
    assert migrated == declared


# Each rule on its own: a statement that breaks it and no other


KEY = ("key_caller", "key_operation", "key", "key_fingerprint")
UNDER_KEY = "'user:1', 'pay_order', 'k', '-'"
ROWS = {
    "itlc_users": (
        "INSERT INTO sessions (id, user_id, expires_at, ended_at, end_reason) "
        "VALUES (gen_random_uuid(), 1, now(), now(), 'signed_out')",
        "INSERT INTO sign_in_failures (subject, kind, failures) VALUES ('a', 'pair', 1)",
    ),
    "itlc_api": ("INSERT INTO service_ratings (order_id, service_id, rating, version) VALUES (1, 1, 5, 1)",),
    "itlc_orders": (
        "INSERT INTO project_progress (project_id, owner_id, status, version) VALUES ('p', 1, 'open', 1)",
        f"INSERT INTO payments (id, customer_id, tokens, rate, status, {', '.join(KEY)}) "
        f"VALUES (gen_random_uuid(), 1, 120, 1, 'paying', {UNDER_KEY})",
        "INSERT INTO payment_orders (payment_id, order_id, tokens, provider_user_id) "
        "SELECT id, 1, 120, 2 FROM payments",
        f"INSERT INTO refunds (id, order_id, amount, tokens, status, {', '.join(KEY)}) "
        f"VALUES (gen_random_uuid(), 1, 10, 10, 'refunding', {UNDER_KEY})",
    ),
    "itlc_templates": ("INSERT INTO template_store (name, description, type) VALUES ('a', 'b', 'service')",),
}
"""What the market's builders do not make."""


@pytest.fixture(scope="module")
def _market(all_stores: Stores) -> None:
    """Rows of every table, all of them good: an order that was done, one that begins, and an open bid, among others."""
    all_stores.empty()
    ada, bob = member("Ada"), member("Bob")
    assert ada.user_id is not None
    give(ada.user_id, 500)
    service = service_of(bob)
    order_in("completed", ada, bob, service_id=service)
    order_in("created", ada, bob, service_id=service)
    open_bid(ada, service)
    for database, statements in ROWS.items():
        for statement in statements:
            all_stores.rows(database, statement)


def _copy(table: str, *columns: str, **changed: str) -> str:
    """A statement that copies a table's rows, with other values in some columns."""
    taken = ", ".join((*columns, *changed))
    return f"INSERT INTO {table} ({taken}) SELECT {', '.join((*columns, *changed.values()))} FROM {table}"


PARTIES = ("provider_id", "provider_user_id", "service_id", "amount")
REFUSED = {
    "itlc_users": {
        "users_tokens_not_negative": ["UPDATE users SET tokens = -1"],
        "sessions_end_reason": ["UPDATE sessions SET end_reason = 'x'"],
        "sign_in_failures_kind": ["UPDATE sign_in_failures SET kind = 'x'"],
        "transfers_tokens_positive": ["UPDATE transfers SET tokens = 0"],
        "transfers_kind": ["UPDATE transfers SET kind = 'x'"],
        "transfers_between_two": ["UPDATE transfers SET debit_account = credit_account"],
        "transfers_debit_balance": [
            "UPDATE transfers SET debit_balance = 1",
            "UPDATE transfers SET debit_user_id = 1",
        ],
        "transfers_credit_balance": [
            "UPDATE transfers SET credit_balance = NULL",
            "UPDATE transfers SET credit_user_id = NULL",
        ],
    },
    "itlc_api": {
        "services_status": ["UPDATE services SET status = 'x'"],
        "services_rating": ["UPDATE services SET rating_count = -1", "UPDATE services SET rating_sum = -1"],
        "service_ratings_rating": ["UPDATE service_ratings SET rating = 0", "UPDATE service_ratings SET rating = 6"],
    },
    "itlc_orders": {
        "orders_status": ["UPDATE orders SET status = 'x'"],
        "orders_amount": ["UPDATE orders SET amount = 0"],
        "orders_refund_within_payment": [
            "UPDATE orders SET tokens_charged = NULL, refunded_tokens = 1",
            "UPDATE orders SET tokens_charged = 120, refunded_tokens = 121",
            "UPDATE orders SET refunded_tokens = -1",
            "UPDATE orders SET refunded_amount = -0.01",
            "UPDATE orders SET refunded_amount = amount + 0.01",
        ],
        "orders_bid_id_key": [_copy("orders", "user_id", *PARTIES, "bid_id")],
        "project_progress_status": ["UPDATE project_progress SET status = 'x'"],
        "checkins_status": ["UPDATE checkins SET status = 'x'"],
        "checkins_started_once": ["INSERT INTO checkins (order_id, status) VALUES (1, 'started')"],
        "checkins_completed_once": ["INSERT INTO checkins (order_id, status) VALUES (1, 'completed')"],
        "bidding_status": ["UPDATE bidding SET status = 'x' WHERE status = 'open'"],
        "bidding_amount": ["UPDATE bidding SET amount = 0"],
        "bidding_won_has_order": [
            "UPDATE bidding SET status = 'won' WHERE status = 'open'",
            "UPDATE bidding SET status = 'open' WHERE status = 'won'",
            "UPDATE bidding SET order_id = NULL WHERE order_id = 1",
        ],
        "bidding_order_id_key": [_copy("bidding", "bidder_id", *PARTIES, "status", "order_id")],
        "payments_status": ["UPDATE payments SET status = 'x'"],
        "payments_tokens": ["UPDATE payments SET tokens = -1"],
        "payment_orders_tokens": ["UPDATE payment_orders SET tokens = -1"],
        "refunds_status": ["UPDATE refunds SET status = 'x'"],
        "refunds_tokens": ["UPDATE refunds SET tokens = 0"],
        "refunds_amount": ["UPDATE refunds SET amount = 0"],
        "payment_orders_payment_id_fkey": ["UPDATE payment_orders SET payment_id = gen_random_uuid()"],
        "payment_orders_order_id_fkey": ["UPDATE payment_orders SET order_id = 4711"],
        "refunds_order_id_fkey": ["UPDATE refunds SET order_id = 4711"],
        "checkins_order_id_fkey": ["UPDATE checkins SET order_id = 4711 WHERE id = 1"],
        "bidding_order_id_fkey": ["UPDATE bidding SET order_id = 4711 WHERE order_id = 1"],
        "refunds_one_at_a_time": [
            _copy("refunds", "order_id", "amount", "tokens", "status", *KEY, id="gen_random_uuid()")
        ],
    },
    "itlc_tokens": {
        "token_topups_status": ["UPDATE token_topups SET status = 'x'"],
        "token_topups_amount": [
            "UPDATE token_topups SET amount = 0",
            "UPDATE token_topups SET amount = 1000000001",
            "UPDATE token_topups SET amount = 1.5",
        ],
    },
    "itlc_templates": {"template_store_type": ["UPDATE template_store SET type = 'x'"]},
}


def test_every_check_has_a_statement_that_breaks_it(endpoints: Endpoints) -> None:
    checks = {
        str(rule.name)
        for database in DATABASES
        for table in database.metadata.sorted_tables
        for rule in table.constraints
        if isinstance(rule, CheckConstraint)
    }
    assert checks - {name for rules in REFUSED.values() for name in rules} == set()


@pytest.mark.usefixtures("_market")
@pytest.mark.parametrize(
    ("database", "name", "statement"),
    [
        pytest.param(database, name, statement, id=f"{name}-{number}")
        for database, rules in REFUSED.items()
        for name, statements in rules.items()
        for number, statement in enumerate(statements)
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_name(
    all_stores: Stores, database: str, name: str, statement: str
) -> None:
    with pytest.raises(DBAPIError) as refused:
        all_stores.rows(database, statement)
    assert constraint(refused.value) == name
