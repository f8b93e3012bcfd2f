"""The collections of `itlc_pbfr`: an index for every list and look-up, a validator for every field of the design.

A list's index ends in NEWEST, its order, so that a page is one walk along it from the cursor's position. That holds
for a list by words too: MongoDB walks the entries of one of them, and looks at each document for the others.
"""

from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

NEWEST = [("created_at", -1), ("_id", -1)]
INDEXES: dict[str, list[tuple[str, list[tuple[str, int]], dict[str, Any]]]] = {
    "projects": [
        ("of_owner", [("owner_id", 1), *NEWEST], {}),
        ("of_owner_by_status", [("owner_id", 1), ("status", 1), *NEWEST], {}),
        ("of_owner_by_word", [("owner_id", 1), ("words", 1), *NEWEST], {}),
    ],
    "blogs": [
        ("newest", NEWEST, {}),
        ("of_provider", [("provider_id", 1), *NEWEST], {}),
        ("of_user", [("user_id", 1)], {}),
        ("by_word", [("words", 1), *NEWEST], {}),
    ],
    "faqs": [
        ("newest", NEWEST, {}),
        ("of_provider", [("provider_id", 1), *NEWEST], {}),
        ("of_user", [("user_id", 1)], {}),
        ("by_word", [("words", 1), *NEWEST], {}),
    ],
    "ratings": [
        ("of_order", [("order_id", 1)], {"unique": True}),
        ("of_service", [("service_id", 1), *NEWEST], {}),
        ("of_service_by_rating", [("service_id", 1), ("rating", 1)], {}),
        ("of_user", [("user_id", 1)], {}),
    ],
    "reviews": [
        ("of_service", [("service_id", 1), *NEWEST], {}),
        ("of_user", [("user_id", 1)], {}),
    ],
    "request_counts": [("of_windows_over", [("window_end", 1)], {})],
    "bookkeeping": [("of_caller", [("idempotency.caller", 1)], {"sparse": True})],
}
# In every collection of documents: a request's key once, when keys expire, and the events that wait to be sent.
SHARED: list[tuple[str, list[tuple[str, int]], dict[str, Any]]] = [
    ("idempotency_key", [("idempotency.key", 1)], {"unique": True, "sparse": True}),
    ("idempotency_expiry", [("idempotency.expires_at", 1)], {"sparse": True}),
    ("outbox_waiting", [("outbox.claimed_until", 1)], {"sparse": True}),
]
REQUIRED = {
    "projects": {"name": "string", "description": "string", "created_at": "date"},
    "blogs": {"title": "string", "content": "string", "author": "string", "created_at": "date"},
    "faqs": {"question": "string", "answer": "string", "created_at": "date"},
    "ratings": {"rating": "int", "created_at": "date"},
    "reviews": {"review": "string", "created_at": "date"},
}
COMMAND_NOT_SUPPORTED = 115  # what the embedded server's guard answers; MongoDB itself takes validators


def upgrade(database: "Database[dict[str, Any]]") -> None:
    """Make collections, indexes and validators; what exists already stays."""
    existing = set(database.list_collection_names())
    for collection, indexes in INDEXES.items():
        if collection not in existing:
            database.create_collection(collection)
        shared = [] if collection == "request_counts" else SHARED
        for name, keys, options in [*indexes, *shared]:
            database[collection].create_index(keys, name=name, **options)
        fields = REQUIRED.get(collection)
        if fields is None:
            continue
        schema = {
            "bsonType": "object",
            "required": [*fields],
            "properties": {f: {"bsonType": t} for f, t in fields.items()},
        }
        try:
            database.command("collMod", collection, validator={"$jsonSchema": schema})
        except OperationFailure as error:
            if error.code != COMMAND_NOT_SUPPORTED:
                raise
