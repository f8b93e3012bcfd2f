"""Templates from which projects and services are made. Database `itlc_templates`."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, String, Table, Text, func
from sqlalchemy.dialects.postgresql import TSVECTOR

from itlc.stores.bookkeeping import TIMESTAMP, created_at
from itlc.stores.postgres import templates as database
from itlc.stores.search import words_of

template_store = Table(
    "template_store",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("type", String(16), nullable=False),
    created_at(),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    Column("search", TSVECTOR, words_of("name || ' ' || description")),
    CheckConstraint("type IN ('project', 'service')", name="template_store_type"),
    Index("template_store_newest", "created_at", "id"),
    Index("template_store_type_newest", "type", "created_at", "id"),
    Index("template_store_search", "search", postgresql_using="gin"),
)
