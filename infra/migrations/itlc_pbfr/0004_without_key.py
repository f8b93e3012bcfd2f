"""What holds nothing any more is looked for in the `bookkeeping`: among the documents that have no key, which this
index knows as well (it is not sparse)."""

from typing import Any

from pymongo.database import Database


def upgrade(database: "Database[dict[str, Any]]") -> None:
    """Make the index; one that exists already stays."""
    database["bookkeeping"].create_index([("idempotency.expires_at", 1), ("_id", 1)], name="without_key")
