"""The MongoDB database `itlc_pbfr`: one cached client, and what a write needs without transactions.

A MongoDB write here is one change of one document. What must happen elsewhere travels inside that document, in
its `outbox` array; an idempotency key and its answer inside the document that the request created.
No queries here: they are in each domain's `repository.py`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import ConnectionFailure, DuplicateKeyError, ExecutionTimeout

from itlc import events
from itlc.errors import StoreAway
from itlc.idempotency import Answer, Key, Replayed
from itlc.secrets import secret
from itlc.settings import settings

T = TypeVar("T")
Document = dict[str, Any]


@cache
def database() -> "MongoDatabase[Document]":
    """The database `itlc_pbfr`, over one client with short timeouts. Times come back as UTC."""
    url = secret("mongodb")["url"]
    client: MongoClient[Document] = MongoClient(
        url,
        appname="itlc",
        tz_aware=True,
        maxPoolSize=4,
        connectTimeoutMS=2000,
        serverSelectionTimeoutMS=3000,
        socketTimeoutMS=8000,
        w="majority" if "replicaSet" in url else 1,
    )
    return client["itlc_pbfr"]


class DocumentStore:
    """The documents of one collection of `itlc_pbfr`."""

    def __init__(self, collection: str) -> None:
        self.collection = collection

    @contextmanager
    def read(self) -> "Iterator[Collection[Document]]":
        """The collection, for reading. Raises StoreAway when the database cannot be reached."""
        with self._translated():
            yield database()[self.collection]

    def write(self, work: "Callable[[DocumentWriter], T]") -> T:
        """Run `work`, which changes one document, then send the events that it put into that document's outbox.

        Raises StoreAway when the database cannot be reached.
        """
        with self._translated():
            writer = DocumentWriter(database()[self.collection])
            result = work(writer)
        events.send_now([event for _, event in writer.emitted], writer.mark_published)
        return result

    def earlier_answer(self, key: Key) -> Answer | None:
        """See `itlc.idempotency.Store`."""
        with self.read() as documents:
            return find_answer(documents, key)

    def claim(self, handle: "DocumentWriter", key: Key, answer: Callable[[Any], Answer]) -> Answer | None:
        """See `itlc.idempotency.Store`: the document that the work creates will carry the key and the answer."""
        handle.key, handle.answer = key, answer
        return None

    def keep(self, handle: "DocumentWriter", key: Key, answer: Answer) -> None:
        """Nothing is left to do: the created document carries the answer."""

    def keep_refusal(self, key: Key, answer: Answer) -> None:
        """A refusal creates no document that could carry it; asked again, the request is judged anew."""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionFailure, ExecutionTimeout) as error:
            raise StoreAway("itlc_pbfr") from error


class DocumentWriter:
    """One write: the collection, the key that the created document has to carry, the events emitted."""

    def __init__(self, documents: "Collection[Document]") -> None:
        self.documents = documents
        self.emitted: list[tuple[ObjectId, events.Event]] = []
        self.key: Key | None = None
        self.answer: Callable[[Any], Answer] | None = None

    def create(self, document: Document, view: Callable[[Document], T], *emit: events.Event) -> T:
        """Insert `document` (which has its `_id`) with the events it emits, and return its view.

        Where the request carries an idempotency key, the document carries the key and the answer too. Raises
        Replayed when a document was created with that key before, KeyReused when that was another request.
        """
        result = view(document)
        stored = dict(document)
        if emit:
            stored["outbox"] = [outbox_entry(event) for event in emit]
        if self.key is not None and self.answer is not None:
            stored["idempotency"] = {
                "key": self.key.identity,
                "fingerprint": self.key.fingerprint,
                "answer": asdict(self.answer(result)),
                "expires_at": datetime.now(UTC) + timedelta(hours=settings().idempotency_hours),
            }
        try:
            self.documents.insert_one(stored)
        except DuplicateKeyError:
            earlier = self.key and find_answer(self.documents, self.key)
            if not earlier:
                raise
            raise Replayed(earlier) from None
        self.note_emitted(document["_id"], *emit)
        return result

    def note_emitted(self, object_id: ObjectId, *emitted: events.Event) -> None:
        """Have these events, which are in that document's outbox, sent after the write."""
        self.emitted += [(object_id, event) for event in emitted]

    def mark_published(self, ids: set[str]) -> None:
        """Take sent events out of their documents' outboxes."""
        for object_id, event in self.emitted:
            if event.id in ids:
                take_out(self.documents, object_id, event.id)


def find_answer(documents: "Collection[Document]", key: Key) -> Answer | None:
    """The answer that a document keeps under the key; an expired key is taken off its document."""
    found = documents.find_one({"idempotency.key": key.identity}, {"idempotency": 1})
    if found is None:
        return None
    kept: Mapping[str, Any] = found["idempotency"]
    if kept["expires_at"] < datetime.now(UTC):
        documents.update_one(
            {"_id": found["_id"], "idempotency.expires_at": kept["expires_at"]}, {"$unset": {"idempotency": ""}}
        )
        return None
    key.check(kept["fingerprint"])
    return Answer(**kept["answer"])


def outbox_entry(event: events.Event) -> Document:
    """An event as it waits in a document's `outbox`: claimed for whoever writes it, for half a minute."""
    fields = asdict(event)
    return {
        "id": fields.pop("id"),
        "claimed_until": datetime.now(UTC) + events.CLAIM,
        "event": json.dumps(fields, separators=(",", ":")),
    }


def take_out(documents: "Collection[Document]", object_id: ObjectId, event_id: str) -> None:
    """Remove a sent event from its document's outbox."""
    documents.update_one({"_id": object_id}, {"$pull": {"outbox": {"id": event_id}}})


def relay(documents: "Collection[Document]", limit: int = 100) -> tuple[int, int]:
    """Send waiting events of one collection's documents; returns how many were waiting and how many were sent."""
    now = datetime.now(UTC)
    sent = waiting = 0
    due = {"outbox.claimed_until": {"$lt": now}}
    for document in documents.find(due, {"outbox": 1}).limit(limit):
        for entry in document["outbox"]:
            if entry["claimed_until"] >= now:
                continue
            waiting += 1
            claimed = documents.update_one(
                {
                    "_id": document["_id"],
                    "outbox": {"$elemMatch": {"id": entry["id"], "claimed_until": entry["claimed_until"]}},
                },
                {"$set": {"outbox.$[entry].claimed_until": now + events.CLAIM}},
                array_filters=[{"entry.id": entry["id"]}],
            )
            if not claimed.modified_count:
                continue
            event = events.Event(id=entry["id"], **json.loads(entry["event"]))
            if events.send([event]):
                take_out(documents, document["_id"], event.id)
                sent += 1
    return waiting, sent


def object_id(text: str) -> ObjectId | None:
    """The ObjectId that `text` spells (24 hexadecimal digits), or None."""
    return ObjectId(text) if ObjectId.is_valid(text) else None


projects = DocumentStore("projects")
blogs = DocumentStore("blogs")
faqs = DocumentStore("faqs")
ratings = DocumentStore("ratings")
reviews = DocumentStore("reviews")

STORES = (projects, blogs, faqs, ratings, reviews)
