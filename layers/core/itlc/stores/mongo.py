"""The MongoDB database `itlc_pbfr`: one cached client, and what a write needs without transactions.

A MongoDB write here is one change of one document. What must happen elsewhere travels inside that document, in
its `outbox` array; an idempotency key and its answer inside the document that the request created. Both outlive
their document, in the collection `bookkeeping`, which also keeps the answers of requests that created none. An event
that was sent is kept in `sent_events` for a while. How often somebody writes is counted in `request_counts`.
A document counts its changes in `version`, and each change is made of the version that was looked at.
No domain's queries here: they are in its `repository.py`.
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Collection as AnyCollection
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import bson
import pymongo
from bson import ObjectId
from pymongo import MongoClient, ReturnDocument
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    WaitQueueTimeoutError,
    WTimeoutError,
)
from pymongo.write_concern import WriteConcern

from itlc import events
from itlc.errors import NotFound, Passing, StoreAway
from itlc.idempotency import Answer, Key, Replayed
from itlc.limits import CLOCKS_APART, Window
from itlc.paging import Found, PageQuery
from itlc.secrets import secret
from itlc.settings import settings
from itlc.stores.circuit import ANSWER_SECONDS, CONNECT_SECONDS, Circuit, circuit

T = TypeVar("T")
Document = dict[str, Any]

NAME = "itlc_pbfr"
BOOKKEEPING = "bookkeeping"
REQUEST_COUNTS = "request_counts"
SENT_EVENTS = "sent_events"
TRIES = 20
OUT_OF_DISK_SPACE = 14031
AGREEING = timedelta(seconds=5)
"""Clocks so near to each other are taken to agree: asking takes time as well."""
PAGE_BYTES = 1_000_000
NOTHING_WAITS: Document = {"$or": [{"outbox": {"$exists": False}}, {"outbox": []}]}
NOT_ANSWERED = {"words": 0, "idempotency": 0, "outbox": 0}
"""The projection that leaves out what no answer is made of."""


@cache
def database() -> "MongoDatabase[Document]":
    """The database `itlc_pbfr`, over one client with short timeouts. Times come back as UTC.

    `timeoutMS` is for one operation with all that the driver repeats of it.
    """
    url = secret("mongodb")["url"]
    client: MongoClient[Document] = MongoClient(
        url,
        appname="itlc",
        tz_aware=True,
        maxPoolSize=4,
        connectTimeoutMS=CONNECT_SECONDS * 1000,
        serverSelectionTimeoutMS=CONNECT_SECONDS * 1000,
        timeoutMS=ANSWER_SECONDS * 1000,
        w="majority",
    )
    return client[NAME]


def _circuit() -> Circuit:
    """The circuit of the database's server."""
    return circuit(secret("mongodb")["url"], is_down)


def is_down(error: Exception) -> bool:
    """Whether the server cannot be reached or does not answer."""
    return isinstance(error, ConnectionFailure) and not isinstance(error, WaitQueueTimeoutError)


def ping() -> None:
    """Ask the least that proves that the database answers, whether its circuit is open or not. Raises StoreAway."""
    with _translated(probe=True):
        database().command("ping")


@contextmanager
def _translated(*, probe: bool = False) -> Iterator[None]:
    try:
        with _circuit().guard(NAME, probe=probe) as was_down:
            if was_down:  # without this, the driver would look for the server for as long as an answer may take
                with pymongo.timeout(CONNECT_SECONDS):
                    database().command("ping")
            yield
    except (ConnectionFailure, ExecutionTimeout, WTimeoutError) as error:  # the last: no majority has it in time
        raise StoreAway(NAME) from error
    except OperationFailure as error:
        if error.code == OUT_OF_DISK_SPACE:
            raise StoreAway(NAME) from error
        raise


class DocumentStore:
    """The documents of one collection of `itlc_pbfr`."""

    def __init__(self, collection: str) -> None:
        self.collection = collection

    @contextmanager
    def read(self) -> "Iterator[Collection[Document]]":
        """The collection, for reading. Raises StoreAway when the database cannot be reached."""
        with _translated():
            yield database()[self.collection]

    def write(self, work: "Callable[[DocumentWriter], T]") -> T:
        """Run `work`, which changes one document, then send the events that it put into that document's outbox.

        Raises StoreAway when the database cannot be reached.
        """
        with _translated():
            writer = DocumentWriter(database()[self.collection])
            result = work(writer)
        events.send_now([event for _, _, event in writer.emitted], writer.mark_published)
        return result

    def count_request(self, subject: str, window: Window) -> int:
        """See `itlc.limits.Counter`. One command, which waits for no other member: a lost count is no loss."""
        counts = database().get_collection(REQUEST_COUNTS, write_concern=WriteConcern(w=1))
        with _translated():
            for _ in range(2):  # two that count first at the same time: one is refused, and goes on from the other's
                with suppress(DuplicateKeyError):
                    counted: Document | None = counts.find_one_and_update(
                        {"_id": f"{subject} {window.end}"},
                        {"$inc": {"count": 1}, "$setOnInsert": {"window_end": window.ends_at}},
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                    return int(counted["count"]) if counted else 0
        raise StoreAway(NAME)

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
        """See `itlc.idempotency.Store`. A refusal creates no document to carry it, so it gets one of its own."""
        with self.read() as documents:
            if find_answer(documents, key) is None:
                with suppress(DuplicateKeyError):  # refused twice at the same time: one of the two is kept
                    documents.database[BOOKKEEPING].insert_one({"idempotency": kept_answer(key, answer)})


@dataclass(frozen=True)
class Change:
    """What is to become of a document: the fields to set (none: it stays as it is) and the events of the change."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    emit: tuple[events.Event, ...] = ()


class DocumentWriter:
    """One write: the collection, the key that the created document has to carry, the events emitted."""

    def __init__(self, documents: "Collection[Document]") -> None:
        self.documents = documents
        self.emitted: list[tuple[Collection[Document], ObjectId, events.Event]] = []
        self.key: Key | None = None
        self.answer: Callable[[Any], Answer] | None = None

    def create(self, fields: Document, view: Callable[[Document], T], *emit: events.Event) -> T:
        """Insert a document of these fields, created now as version 1, with the events it emits; return its view.

        Where the request carries an idempotency key, the document carries the key and the answer too. Raises
        Replayed when a document was created with that key before, KeyReused when that was another request, and
        DuplicateKeyError when another unique index refuses the document.
        """
        moment = now()
        document = {"_id": ObjectId(), **fields, "created_at": moment, "updated_at": moment, "version": 1}
        result = view(document)
        stored = dict(document)
        if emit:
            stored["outbox"] = [outbox_entry(event) for event in emit]
        if self.key is not None and self.answer is not None:
            stored["idempotency"] = kept_answer(self.key, self.answer(result))
        try:
            self.documents.insert_one(stored)
        except DuplicateKeyError:
            earlier = self.key and find_answer(self.documents, self.key)
            if not earlier:
                raise
            raise Replayed(earlier) from None
        self.note_emitted(document["_id"], *emit)
        return result

    def change(self, where: Document, what: str, decide: Callable[[Document], Change]) -> Document:
        """Change the one document that matches `where`, and return it as it is afterwards.

        `decide` sees the document and says what is to become of it, or raises. When somebody else changes the
        document in the meantime, `decide` is asked again about the new one, so nobody's change is lost. Raises
        NotFound (there is no such `what`), and Conflict when others keep changing it.
        """
        for attempt in range(TRIES):
            before = self._present(where, what, NOT_ANSWERED)
            change = decide(before)
            if not change.fields:
                return before
            update: Document = {"$set": {**change.fields, "updated_at": now()}, "$inc": {"version": 1}}
            if change.emit:
                update["$push"] = {"outbox": {"$each": [outbox_entry(event) for event in change.emit]}}
            after = self.documents.find_one_and_update(
                same_version(before), update, projection=NOT_ANSWERED, return_document=ReturnDocument.AFTER
            )
            if after is not None:
                self.note_emitted(after["_id"], *change.emit)
                return after
            _step_aside(attempt)
        raise _too_busy(what)

    def remove(self, where: Document, what: str, allow: "Callable[[Document], Iterable[events.Event] | None]") -> None:
        """Delete the one document that matches `where`, unless `allow`, which sees it, raises; `allow` returns the
        events of the deletion, if it has any.

        They are written down before the document goes, in the bookkeeping: a deletion is never without its events,
        but a process that dies between the two leaves events of a deletion that did not happen.
        Raises NotFound (there is no such `what`), and Conflict when others keep changing it.
        """
        for attempt in range(TRIES):
            document = self._present(where, what)
            emit = tuple(allow(document) or ())
            # Copied first: should the deletion not follow, the copy repeats what the document says, and that is
            # harmless, for an answer is the same and an event is applied once.
            copy_id = self._outlive(document, emit)
            if self.documents.delete_one(same_version(document)).deleted_count:
                self.note_emitted(copy_id, *emit, within=self._bookkeeping)
                return
            for event in emit:
                take_out(self._bookkeeping, copy_id, event.id)
            _step_aside(attempt)
        raise _too_busy(what)

    def _present(self, where: Document, what: str, projection: Mapping[str, int] | None = None) -> Document:
        document = self.documents.find_one(where, projection)
        if document is None:
            raise NotFound(f"There is no such {what}.")
        return document

    def remove_all(self, where: Document, what: str) -> None:
        """Delete every document that matches `where`, each as `remove` does. Raises Conflict as `remove` does."""
        for document in self.documents.find(where, {"_id": 1}).to_list():
            with suppress(NotFound):  # somebody else was faster
                self.remove({"_id": document["_id"]}, what, lambda _: None)

    @property
    def _bookkeeping(self) -> "Collection[Document]":
        return self.documents.database[BOOKKEEPING]

    def _outlive(self, document: Document, emit: tuple[events.Event, ...]) -> ObjectId:
        """Keep a document's idempotency key and its waiting events, which are promises beyond its deletion, and the
        events of the deletion itself, in a document of the bookkeeping; returns its id.

        It is a new one each time, so that what is in the bookkeeping only ever gets less: one that holds nothing any
        more may be removed whatever else goes on.
        """
        copy_id = ObjectId()
        copy: Document = {"_id": copy_id}
        waiting = [*document.get("outbox", []), *(outbox_entry(event) for event in emit)]
        if waiting:
            copy["outbox"] = waiting
        if document.get("idempotency"):
            with suppress(DuplicateKeyError):  # the key is kept by another document, which answers for it
                self._bookkeeping.insert_one({**copy, "idempotency": document["idempotency"]})
                return copy_id
        if waiting:
            self._bookkeeping.insert_one(copy)
        return copy_id

    def note_emitted(
        self, object_id: ObjectId, *emitted: events.Event, within: "Collection[Document] | None" = None
    ) -> None:
        """Have these events, which are in that document's outbox, sent after the write. The document is one of the
        writer's own collection, unless it is said `within` which other."""
        documents = self.documents if within is None else within
        self.emitted += [(documents, object_id, event) for event in emitted]

    def mark_published(self, ids: set[str]) -> None:
        """Note that these events were sent."""
        for documents, object_id, event in self.emitted:
            if event.id in ids:
                mark_published(documents, object_id, event)


def now() -> datetime:
    """The present moment by the server's clock, to the millisecond, as MongoDB keeps it.

    An update cannot ask for it (the embedded server has no pipelines), and workers' clocks need not agree: an event
    that is claimed until a moment would wait for as long as the clocks of writer and relay are apart.
    """
    moment = datetime.now(UTC) + _clock_behind()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@cache
def _clock_behind() -> timedelta:
    """How far this worker's clock is behind the server's. Asked once: clocks are set, they hardly drift."""
    asked = datetime.now(UTC)
    told: datetime = database().command("isMaster")["localTime"]
    apart = told.replace(tzinfo=UTC) - asked  # what a command returns knows no time zone
    return apart if abs(apart) > AGREEING else timedelta()


def same_version(document: Document) -> Document:
    """The filter that matches `document` as long as nobody has changed it."""
    return {"_id": document["_id"], "version": document["version"]}


def _step_aside(attempt: int) -> None:
    """Wait a moment, capped and jittered: those who clashed should not meet again."""
    time.sleep(random.uniform(0, min(0.1, 0.002 * 2**attempt)))  # noqa: S311


def _too_busy(what: str) -> Passing:
    return Passing(f"Others keep changing this {what}; try again shortly.")


def newest(documents: "Collection[Document]", where: Document, query: PageQuery) -> Found[Document]:
    """A page of the documents that match `where`, newest first, without the fields that no answer is made of.

    It begins after the query's position, by an index that ends in (created_at, _id), and may be shorter than the
    query's limit where documents are long: it ends at about a megabyte, so that it fits into a Lambda's response.
    """
    conditions = [where]
    if query.after is not None:
        created_at, last_id = query.after[0], ObjectId(query.after[1])
        # The first condition bounds the walk along the index, the second passes over those already shown.
        conditions.append({"created_at": {"$lte": created_at}})
        conditions.append({"$or": [{"created_at": {"$lt": created_at}}, {"_id": {"$lt": last_id}}]})
    cursor = documents.find({"$and": conditions}, NOT_ANSWERED, batch_size=20)
    found: list[Document] = []
    size = 0
    with cursor.sort([("created_at", -1), ("_id", -1)]).limit(query.limit + 1) as rows:
        for row in rows:
            if len(found) == query.limit or size > PAGE_BYTES:
                return Found(found, _position(found[-1]))
            found.append(row)
            size += len(bson.encode(row))
    return Found(found)


def _position(document: Document) -> tuple[datetime, str]:
    return document["created_at"], str(document["_id"])


def kept_answer(key: Key, answer: Answer) -> Document:
    """The `idempotency` field of a document: a request's key, what it asked for, and its answer."""
    return {
        "key": key.identity,
        "caller": key.caller,
        "fingerprint": key.fingerprint,
        "answer": asdict(answer),
        "expires_at": now() + timedelta(hours=settings().idempotency_hours),
    }


def find_answer(documents: "Collection[Document]", key: Key) -> Answer | None:
    """The answer kept under the key, by a document of this collection or in the bookkeeping; an expired key is
    taken off. Raises KeyReused when the key was used for another request."""
    for collection in (documents, documents.database[BOOKKEEPING]):
        found = collection.find_one({"idempotency.key": key.identity}, {"idempotency": 1})
        if found is None:
            continue
        kept: Mapping[str, Any] = found["idempotency"]
        if kept["expires_at"] > now():
            key.check(kept["fingerprint"])
            return Answer(**kept["answer"])
        collection.update_one({"_id": found["_id"]}, {"$unset": {"idempotency": ""}})
    return None


def forget_keys(documents: "Collection[Document]", caller: str, limit: int) -> int:
    """Take up to `limit` keys of a caller (`user:12`), with the answers kept under them, off the documents of one
    collection; returns how many. Call it until there are none."""
    return _take_off_keys(documents, {"idempotency.caller": caller}, limit)


def purge_keys(documents: "Collection[Document]", limit: int) -> int:
    """Take up to `limit` keys whose time is over off the documents of one collection; returns how many. What holds
    neither a good key nor a waiting event goes from the bookkeeping as a whole, and counts as one."""
    moment = "idempotency.expires_at"
    spent: Document = {moment: {"$lt": now()}}
    removed = 0
    if documents.name == BOOKKEEPING:
        no_good_key = {"$or": [spent, {moment: {"$exists": False}}]}
        removed = _remove(documents, {"$and": [no_good_key, NOTHING_WAITS]}, limit)
    return removed + (_take_off_keys(documents, spent, limit - removed) if removed < limit else 0)


def _take_off_keys(documents: "Collection[Document]", where: Document, limit: int) -> int:
    ids = _some_ids(documents, where, limit)
    if ids:
        documents.update_many({"_id": {"$in": ids}}, {"$unset": {"idempotency": ""}})
    return len(ids)


def _remove(documents: "Collection[Document]", where: Document, limit: int) -> int:
    ids = _some_ids(documents, where, limit)
    if ids:
        documents.delete_many({"_id": {"$in": ids}})
    return len(ids)


def _some_ids(documents: "Collection[Document]", where: Document, limit: int) -> list[Any]:
    """The ids of up to `limit` documents that match `where`, to name them by in the statement that follows. Only for
    what stays true of a document once it is (a key is never another one, and what the bookkeeping holds only ever gets
    less): that statement asks no more, for where it does, some servers compare each document with the whole list."""
    return [document["_id"] for document in documents.find(where, {"_id": 1}, limit=limit)]


def purge_counts(limit: int) -> int:
    """Remove up to `limit` counts of requests in windows that are over; returns how many. Raises StoreAway."""
    with DocumentStore(REQUEST_COUNTS).read() as counts:
        return _remove(counts, {"window_end": {"$lt": datetime.now(UTC) - CLOCKS_APART}}, limit)


def outbox_entry(event: events.Event) -> Document:
    """An event as it waits in a document's `outbox`, from now on by the server's clock: claimed for whoever writes it,
    for half a minute."""
    moment = now()
    return {
        "id": event.id,
        "created_at": moment,
        "claimed_until": moment + events.CLAIM,
        "event": _kept_event(event),
    }


def _kept_event(event: events.Event) -> str:
    """An event but for its id."""
    fields = asdict(event)
    del fields["id"]
    return json.dumps(fields, separators=(",", ":"))


def take_out(documents: "Collection[Document]", object_id: ObjectId, event_id: str) -> None:
    """Remove an event from its document's outbox."""
    documents.update_one({"_id": object_id}, {"$pull": {"outbox": {"id": event_id}}})


def mark_published(documents: "Collection[Document]", object_id: ObjectId, event: events.Event) -> None:
    """Note that an event of a document's outbox was sent, and take it out. Where the process dies between the two, it
    is sent once more, and noted anew."""
    user_ids, emails = event.addressees
    noted = {"published_at": now(), "event": _kept_event(event), "user_ids": user_ids, "emails": emails}
    documents.database[SENT_EVENTS].update_one({"_id": event.id}, {"$set": noted}, upsert=True)
    take_out(documents, object_id, event.id)


def sent_ids(since: timedelta, until: timedelta) -> "Iterator[str]":
    """The ids, in their order, of events that were sent between so long ago and so long ago. Raises StoreAway."""
    with sent_events.read() as sent:
        moment = now()
        between = {"published_at": {"$gt": moment - since, "$lt": moment - until}}
        for document in sent.find(between, {"_id": 1}, batch_size=1_000).sort("_id", 1):
            yield document["_id"]


def sent_texts() -> "Iterator[tuple[str, str]]":
    """Every event that was sent and is still kept, in the order of their ids: its id, and the JSON text of the rest.
    Raises StoreAway."""
    with sent_events.read() as sent:
        for document in sent.find({}, {"event": 1}, batch_size=1_000).sort("_id", 1):
            yield document["_id"], document["event"]


def sent_among(ids: "AnyCollection[str]") -> list[tuple[str, str]]:
    """Those of these events that were sent and are still kept: each its id, and the JSON text of the rest. Raises
    StoreAway."""
    with sent_events.read() as sent:
        return [(found["_id"], found["event"]) for found in sent.find({"_id": {"$in": list(ids)}}, {"event": 1})]


def forget_notices(user_id: int, emails: "AnyCollection[str]", limit: int) -> int:
    """Remove up to `limit` of the sent events that told a user, or one of these addresses, something; returns how many.
    Call it until there are none. Raises StoreAway."""
    with sent_events.read() as sent:
        told = [{"user_ids": user_id}, {"emails": {"$in": [email.lower() for email in emails]}}]
        return _remove(sent, {"$or": told}, limit)


def purge_sent(older_than: timedelta, limit: int) -> int:
    """Remove up to `limit` events that were sent longer ago than that; returns how many. Raises StoreAway."""
    with sent_events.read() as sent:
        return _remove(sent, {"published_at": {"$lt": now() - older_than}}, limit)


def relay(documents: "Collection[Document]", limit: int = 100) -> tuple[int, int]:
    """Send waiting events of up to `limit` documents of one collection, passing over those that another relay holds;
    returns how many it got hold of and how many of them were sent."""
    moment = now()
    claimed: list[tuple[ObjectId, events.Event]] = []
    for document in documents.find({"outbox.claimed_until": {"$lt": moment}}, {"outbox": 1}).limit(limit):
        for entry in document["outbox"]:
            if entry["claimed_until"] < moment:
                event = events.waiting_event(entry["id"], entry["event"])
                if _claim(documents, document["_id"], entry) and event is not None:
                    claimed.append((document["_id"], event))
    sent = events.send([event for _, event in claimed])
    for object_id, event in claimed:
        if event.id in sent:
            mark_published(documents, object_id, event)
    return len(claimed), len(sent)


def _claim(documents: "Collection[Document]", object_id: ObjectId, entry: Document) -> bool:
    """Whether this relay got hold of the event, for half a minute."""
    unclaimed = {"$elemMatch": {"id": entry["id"], "claimed_until": entry["claimed_until"]}}
    claimed = documents.update_one(
        {"_id": object_id, "outbox": unclaimed},
        {"$set": {"outbox.$[entry].claimed_until": now() + events.CLAIM}},
        array_filters=[{"entry.id": entry["id"]}],
    )
    return claimed.modified_count == 1


def object_id(text: str) -> ObjectId | None:
    """The ObjectId that `text` spells as it is given out (24 hexadecimal digits, lower case), or None."""
    return ObjectId(text) if re.fullmatch(r"[0-9a-f]{24}", text) else None


projects = DocumentStore("projects")
blogs = DocumentStore("blogs")
faqs = DocumentStore("faqs")
ratings = DocumentStore("ratings")
reviews = DocumentStore("reviews")
bookkeeping = DocumentStore(BOOKKEEPING)
sent_events = DocumentStore(SENT_EVENTS)

STORES = (projects, blogs, faqs, ratings, reviews, bookkeeping)
