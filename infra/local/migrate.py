"""Bring all seven stores to the newest schema: Alembic for PostgreSQL, numbered scripts for MongoDB and Neo4j.

Every migration is recorded in its own store, runs once, and does no harm when it runs again.
"""

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from neo4j import GraphDatabase
from pymongo import MongoClient
from sqlalchemy import Connection, create_engine, make_url, text

from infra.local.server import Say
from infra.local.stack import Endpoints

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
ADVISORY_LOCK = 4_817_001  # any number, the same for all who migrate


def migrate(endpoints: Endpoints, say: Say) -> None:
    """Apply what is missing in each store, saying what was applied. Raises the store's own error; nothing of the
    migration that failed stays in PostgreSQL, and the others may be run again."""
    for name, credentials in endpoints.postgres.items():
        url = make_url(credentials.owner_url).set(drivername="postgresql+pg8000")
        engine = create_engine(url)
        with engine.connect() as connection:
            _tell(say, f"PostgreSQL {name}", _migrate_postgres(connection, name))
        engine.dispose()
    _tell(say, "MongoDB itlc_pbfr", _migrate_mongodb(endpoints))
    _tell(say, "Neo4j", _migrate_neo4j(endpoints))


def alembic_config(name: str, connection: Connection, metadata: Any = None) -> Config:
    """Alembic's configuration for the database `name`, over an open connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", str(MIGRATIONS / name / "versions"))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, metadata=metadata)
    return config


def _migrate_postgres(connection: Connection, name: str) -> list[str]:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": ADVISORY_LOCK})
    connection.commit()
    config = alembic_config(name, connection)
    scripts = ScriptDirectory.from_config(config)
    before = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    command.upgrade(config, "head")
    connection.commit()
    head = scripts.get_current_head()
    return [] if before == head else [script.revision for script in scripts.iterate_revisions(head, before)][::-1]


def _numbered(store: str) -> Iterator[tuple[str, ModuleType]]:
    for path in sorted((MIGRATIONS / store).glob("[0-9]*.py")):
        yield path.stem, importlib.import_module(f"infra.migrations.{store}.{path.stem}")


def _apply(store: str, applied: set[str], target: Any, note: Callable[[str], None]) -> list[str]:
    done = []
    for name, script in _numbered(store):
        if name not in applied:
            script.upgrade(target)
            note(name)
            done.append(name)
    return done


def _migrate_mongodb(endpoints: Endpoints) -> list[str]:
    with MongoClient[dict[str, Any]](endpoints.mongodb_url, serverSelectionTimeoutMS=5000) as client:
        database = client["itlc_pbfr"]
        records = database["migrations"]
        applied = {str(record["_id"]) for record in records.find()}

        def note(name: str) -> None:
            records.update_one({"_id": name}, {"$set": {"applied_at": datetime.now(UTC)}}, upsert=True)

        return _apply("itlc_pbfr", applied, database, note)


def _migrate_neo4j(endpoints: Endpoints) -> list[str]:
    at = endpoints
    with (
        GraphDatabase.driver(
            at.neo4j_uri,
            auth=(at.neo4j_user, at.neo4j_password),
            notifications_min_severity="OFF",  # it warns of labels that no node has yet
            telemetry_disabled=True,
        ) as driver,
        driver.session(database=at.neo4j_database) as session,
    ):
        applied = {record["name"] for record in session.run("MATCH (m:Migration) RETURN m.name AS name")}

        def note(name: str) -> None:
            session.run("MERGE (m:Migration {name: $name}) SET m.applied_at = datetime()", name=name).consume()

        return _apply("neo4j", applied, session, note)


def _tell(say: Say, store: str, applied: list[str]) -> None:
    say(f"{store}: {'up to date' if not applied else 'applied ' + ', '.join(applied)}")
