"""The migrations make what the tables declare, run twice without harm, and grant no more than the application needs."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from itlc.stores import mongo, postgres
from itlc.stores.postgres import DATABASES, Database
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from infra.local.migrate import migrate
from infra.local.stack import Endpoints
from tests.support.stack import Stores

DESIGN = {
    ("itlc_users", "users"): "id:int4 name:varchar email:varchar password:varchar tokens:int4 created_at:timestamptz "
    "updated_at:timestamptz",
    ("itlc_api", "services"): "id:int4 name:varchar description:text provider_id:int4 created_at:timestamptz "
    "updated_at:timestamptz",
    ("itlc_api", "providers"): "id:int4 name:varchar email:varchar created_at:timestamptz updated_at:timestamptz",
    ("itlc_orders", "orders"): "id:int4 user_id:int4 service_id:int4 amount:numeric status:varchar "
    "created_at:timestamptz",
    ("itlc_orders", "notifications"): "id:int4 user_id:int4 message:text read_status:bool created_at:timestamptz",
    ("itlc_orders", "bidding"): "id:int4 order_id:int4 bidder_id:int4 amount:numeric created_at:timestamptz",
    ("itlc_orders", "checkins"): "id:int4 order_id:int4 status:varchar created_at:timestamptz",
    ("itlc_tokens", "token_topups"): "id:int4 user_id:int4 amount:numeric status:varchar created_at:timestamptz",
    ("itlc_templates", "template_store"): "id:int4 name:varchar description:text type:varchar created_at:timestamptz "
    "updated_at:timestamptz",
}


@pytest.mark.parametrize("database", DATABASES, ids=lambda database: database.name)
def test_tables_and_migrations_agree(endpoints: Endpoints, database: Database) -> None:
    url = make_url(endpoints.postgres[database.name].owner_url).set(drivername="postgresql+pg8000")
    with create_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [
            change for change in compare_metadata(context, database.metadata) if "alembic" not in str(change)
        ]
    assert differences == []


@pytest.mark.parametrize(
    ("place", "fields"), DESIGN.items(), ids=lambda value: "-".join(value) if len(value) == 2 else ""
)
def test_the_designs_fields_have_their_names_and_types(all_stores: Stores, place: tuple[str, str], fields: str) -> None:
    database, table = place
    columns = all_stores.rows(
        database,
        "SELECT column_name || ':' || udt_name AS field, column_default FROM information_schema.columns "
        "WHERE table_name = :table",
        table=table,
    )
    assert set(fields.split()) <= {column["field"] for column in columns}
    serial = next(column for column in columns if column["field"] == "id:int4")
    assert serial["column_default"] == f"nextval('{table}_id_seq'::regclass)"


def test_migrating_again_changes_nothing(endpoints: Endpoints) -> None:
    said: list[str] = []
    migrate(endpoints, said.append)
    assert len(said) == 7
    assert all(line.endswith("up to date") for line in said), said


@pytest.mark.parametrize(
    ("database", "statement"),
    [
        (postgres.users, "UPDATE transfers SET tokens = 1"),
        (postgres.users, "DELETE FROM transfers"),
        (postgres.users, "TRUNCATE transfers"),
        (postgres.users, "UPDATE audit SET action = 'x'"),
        (postgres.orders, "DELETE FROM audit"),
        (postgres.users, "CREATE TABLE mine (id int)"),
        (postgres.users, "DROP TABLE users"),
        (postgres.users, "SELECT * FROM alembic_version"),
    ],
    ids=lambda value: value.name if isinstance(value, Database) else value,
)
def test_the_application_may_not(endpoints: Endpoints, database: Database, statement: str) -> None:
    def attempt(db: Any) -> None:
        db.execute(text(statement))

    with pytest.raises(ProgrammingError) as refused:
        database.write(attempt)
    assert postgres.sqlstate(refused.value) == "42501"


APPEND_ONLY = {"audit", "transfers", "reconciliations"}


@pytest.mark.parametrize("database", DATABASES, ids=lambda database: database.name)
def test_the_application_adds_to_what_is_append_only_and_no_more(all_stores: Stores, database: Database) -> None:
    granted = "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = :role"
    may: dict[str, set[str]] = {}
    for row in all_stores.rows(database.name, granted, role=f"{database.name}_app"):
        may.setdefault(row["table_name"], set()).add(row["privilege_type"])
    assert may == {
        table: {"SELECT", "INSERT"} if table in APPEND_ONLY else {"SELECT", "INSERT", "UPDATE", "DELETE"}
        for table in database.metadata.tables
    }


def test_a_balance_is_never_negative_whatever_the_code_does(stores: Stores) -> None:
    insert = "INSERT INTO users (name, email, password, tokens) VALUES ('a', 'a@example.org', 'x', :tokens)"
    stores.rows("itlc_users", insert, tokens=0)
    with pytest.raises(ProgrammingError) as refused:
        stores.rows("itlc_users", "UPDATE users SET tokens = tokens - 1")
    assert postgres.constraint(refused.value) == "users_tokens_not_negative"


def test_the_collections_have_their_indexes(all_stores: Stores) -> None:
    for collection in ("projects", "blogs", "faqs", "ratings", "reviews", "bookkeeping"):
        indexes = all_stores.mongo["itlc_pbfr"][collection].index_information()
        assert {"idempotency_key", "outbox_waiting"} < set(indexes), collection
        unique = {name for name, index in indexes.items() if index.get("unique")}
        assert unique == {"idempotency_key"} | ({"of_order"} if collection == "ratings" else set()), collection


def test_the_keys_of_a_caller_are_found_by_an_index_in_every_collection_that_has_any(all_stores: Stores) -> None:
    for store in mongo.STORES:
        indexes = all_stores.mongo["itlc_pbfr"][store.collection].index_information()
        assert indexes["of_caller"]["key"] == [("idempotency.caller", 1)], store.collection
        assert indexes["of_caller"]["sparse"], store.collection


def test_what_holds_nothing_any_more_is_found_by_an_index_that_knows_what_has_no_key(all_stores: Stores) -> None:
    index = all_stores.mongo["itlc_pbfr"]["bookkeeping"].index_information()["without_key"]
    assert index["key"][0] == ("idempotency.expires_at", 1)
    assert not index.get("sparse"), "a sparse one leaves out those without a key"


def test_the_graph_has_its_constraints(all_stores: Stores) -> None:
    names = {row["name"] for row in all_stores.graph("SHOW CONSTRAINTS YIELD name RETURN name")}
    assert {"order_id", "order_step_id", "outbox_id", "idempotency_key"} <= names
