"""The stores that the tests run on: their own, started once per worker, emptied between tests."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from itlc.settings import QUEUES, settings
from itlc.stores.postgres import DATABASES
from neo4j import GraphDatabase
from pymongo import MongoClient
from sqlalchemy import Integer, Table, create_engine, make_url, text

from infra.local.migrate import migrate
from infra.local.secret_store import aws_client, store_secrets
from infra.local.stack import Endpoints, Stack

TABLE_MODULES = ("accounts", "wallet", "catalog", "templates", "orders", "bids", "notifications", "system")
for domain in TABLE_MODULES:
    importlib.import_module(f"itlc.{domain}.tables")

COLLECTIONS = ("projects", "blogs", "faqs", "ratings", "reviews", "bookkeeping", "sent_events", "request_counts")

emulators: set[str] = set()
"""The addresses of the emulators that this process has used."""


@contextmanager
def running_stack() -> Iterator[Endpoints]:
    """A migrated stack of its own, in a temporary folder, ended and deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="itlc-tests-") as folder:
        stack = Stack(Path(folder), durable=False)
        try:
            with pytest.MonkeyPatch.context() as environment:
                if os.environ.get("AWS_ENDPOINT_URL") in emulators:  # not the user's, but another stack's of ours
                    environment.delenv("AWS_ENDPOINT_URL")
                endpoints = stack.up(lambda text: None)
            emulators.add(endpoints.aws_endpoint)
            migrate(endpoints, lambda text: None)
            yield endpoints
        finally:
            stack.clean()


def point_functions_at(endpoints: Endpoints) -> dict[str, str]:
    """Make queues and secrets, and set this process's environment as the template sets a function's.

    Returns the queues' URLs by name.
    """
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoints.aws_endpoint,
        "AWS_DEFAULT_REGION": endpoints.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, arn in store_secrets(endpoints).items():
        os.environ[f"ITLC_SECRET_{name.upper()}"] = arn
    sqs = aws_client(endpoints, "sqs")
    urls: dict[str, str] = {}
    for name in QUEUES:
        urls[name] = sqs.create_queue(QueueName=f"test-{name}")["QueueUrl"]
        os.environ[f"ITLC_QUEUE_{name.upper()}"] = urls[name]
        dead = sqs.create_queue(QueueName=f"test-{name}-dead")["QueueUrl"]
        os.environ[f"ITLC_DLQ_{name.upper()}"] = dead
    settings.cache_clear()  # a unit test may have read them before there was a stack
    return urls


class Stores:
    """The stores as their owner sees them: for emptying them, and for looking at what an operation left there."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self.postgres = {
            name: create_engine(
                make_url(credentials.owner_url).set(drivername="postgresql+pg8000"), isolation_level="AUTOCOMMIT"
            )
            for name, credentials in endpoints.postgres.items()
        }
        self.neo4j = GraphDatabase.driver(
            endpoints.neo4j_uri,
            auth=(endpoints.neo4j_user, endpoints.neo4j_password),
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )
        self.mongo: MongoClient[dict[str, Any]] = MongoClient(endpoints.mongodb_url, tz_aware=True)
        self.aws = {name: aws_client(endpoints, name) for name in ("sqs",)}

    def rows(self, database: str, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """What a query returns, as the owner of `database`."""
        with self.postgres[database].connect() as connection:
            result = connection.execute(text(sql), parameters)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    def documents(self, collection: str, where: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The documents of a collection of `itlc_pbfr`."""
        return list(self.mongo["itlc_pbfr"][collection].find(where or {}))

    def graph(self, cypher: str, **parameters: Any) -> list[dict[str, Any]]:
        """What a Cypher query returns."""
        with self.neo4j.session() as session:
            return [record.data() for record in session.run(cypher, **parameters)]

    def disconnect(self, role: str) -> int:
        """End every PostgreSQL connection of a role, as a failing server does; returns how many there were, once they
        are gone."""
        url = make_url(self.endpoints.postgres_admin_url).set(drivername="postgresql+pg8000")
        ended = text("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = :role")
        with create_engine(url).connect() as connection:
            return int(connection.execute(ended, {"role": role}).scalar_one())

    def empty(self, *, from_one: bool = True) -> None:
        """Delete every row, document, node and message, and begin ids at 1 again (unless told not to)."""
        for database in DATABASES:  # DELETE, for it is far quicker on small tables than TRUNCATE
            tables = database.metadata.sorted_tables
            deletes = " ".join(f"DELETE FROM {table.name};" for table in reversed(tables))
            restarts = " ".join(
                f"PERFORM setval('{table.name}_id_seq', 1, false);"
                for table in tables
                if from_one and _is_serial(table)
            )
            self.rows(database.name, f"DO $$ BEGIN {deletes} {restarts} END $$")
        for collection in COLLECTIONS:
            self.mongo["itlc_pbfr"][collection].delete_many({})
        self.graph("MATCH (n) WHERE NOT n:Migration DETACH DELETE n")
        for name, url in os.environ.items():
            if name.startswith(("ITLC_QUEUE_", "ITLC_DLQ_")):
                self.aws["sqs"].purge_queue(QueueUrl=url)


def _is_serial(table: Table) -> bool:
    return "id" in table.c and isinstance(table.c.id.type, Integer) and table.c.id.identity is None
