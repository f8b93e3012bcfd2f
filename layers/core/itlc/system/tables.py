"""What reconciliations found. Database `itlc_users`."""

from sqlalchemy import Column, Integer, Table
from sqlalchemy.dialects.postgresql import JSONB

from itlc.stores.bookkeeping import TIMESTAMP
from itlc.stores.postgres import users as database

reconciliations = Table(
    "reconciliations",
    database.metadata,
    Column("id", Integer, primary_key=True),
    Column("started_at", TIMESTAMP, nullable=False),
    Column("finished_at", TIMESTAMP, nullable=False),
    Column("made_by", Integer),
    Column("findings", JSONB, nullable=False),
)
