"""Providers and what they offer. Database `itlc_api`."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from itlc.stores.bookkeeping import TIMESTAMP, created_at
from itlc.stores.postgres import catalog as database
from itlc.stores.search import words_of

providers = Table(
    "providers",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("email", String(254), nullable=False),
    created_at(),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    Column("user_id", Integer, nullable=False, unique=True),
    Column("erased_at", TIMESTAMP),
    Column("search", TSVECTOR, words_of("name")),
    Index("providers_newest", "created_at", "id"),
    Index("providers_search", "search", postgresql_using="gin"),
)
Index("providers_email", func.lower(providers.c.email), unique=True)

services = Table(
    "services",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("provider_id", Integer, ForeignKey("providers.id"), nullable=False),
    created_at(),
    Column("updated_at", TIMESTAMP, nullable=False, server_default=func.now()),
    Column("status", String(16), nullable=False, server_default="offered"),
    Column("template_id", Integer),
    Column("rating_count", Integer, nullable=False, server_default="0"),
    Column("rating_sum", Integer, nullable=False, server_default="0"),
    Column(
        "rating_average",
        Numeric(4, 3),
        Computed(
            "CASE WHEN rating_count = 0 THEN 0 ELSE round(rating_sum::numeric / rating_count, 3) END", persisted=True
        ),
    ),
    Column("search", TSVECTOR, words_of("name || ' ' || description")),
    CheckConstraint("status IN ('offered', 'withdrawn')", name="services_status"),
    CheckConstraint("rating_count >= 0 AND rating_sum >= 0", name="services_rating"),
    Index("services_search", "search", postgresql_using="gin"),
)
_offered = services.c.status == "offered"
Index("services_newest", services.c.created_at, services.c.id, postgresql_where=_offered)
Index("services_best", services.c.rating_average, services.c.id, postgresql_where=_offered)
Index("services_of_provider", services.c.provider_id, services.c.created_at, services.c.id, postgresql_where=_offered)

# What each order's rating says of a service, so that a message that comes twice or late changes nothing.
service_ratings = Table(
    "service_ratings",
    database.metadata,
    Column("order_id", Integer, primary_key=True),
    Column("service_id", Integer, ForeignKey("services.id"), nullable=False),
    Column("rating", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    CheckConstraint("rating BETWEEN 1 AND 5", name="service_ratings_rating"),
    Index("service_ratings_service", "service_id"),
)
