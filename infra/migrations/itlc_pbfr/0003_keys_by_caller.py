"""Whose a request's key is, is looked for when they are erased: in every collection whose documents carry keys."""

from typing import Any

from pymongo.database import Database

COLLECTIONS = ("projects", "blogs", "faqs", "ratings", "reviews")
"""The `bookkeeping` has the index from the beginning."""


def upgrade(database: "Database[dict[str, Any]]") -> None:
    """Make the indexes; what exists already stays."""
    for collection in COLLECTIONS:
        database[collection].create_index([("idempotency.caller", 1)], name="of_caller", sparse=True)
