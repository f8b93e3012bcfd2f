"""What was sent to the queues is kept for a while: to be looked for by when it was sent, and by whom it told."""

from typing import Any

from pymongo.database import Database

COLLECTION = "sent_events"


def upgrade(database: "Database[dict[str, Any]]") -> None:
    """Make the collection and its indexes; what exists already stays."""
    if COLLECTION not in database.list_collection_names():
        database.create_collection(COLLECTION)
    for name, field in (("by_time", "published_at"), ("of_user", "user_ids"), ("of_address", "emails")):
        database[COLLECTION].create_index([(field, 1)], name=name)
