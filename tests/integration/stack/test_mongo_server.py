"""The embedded MongoDB server as pymongo meets it: what it refuses, what the application needs of it, what it keeps."""

import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from pymongo import ASCENDING, DESCENDING, InsertOne, MongoClient, ReturnDocument, UpdateOne, WriteConcern
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from infra.local import jars
from infra.local.process import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
THREADS = 8
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Server:
    """One server process on a data folder of its own; it may be ended and started again."""

    def __init__(self, folder: Path, classpath: str) -> None:
        self.data, self.log, self.classpath = folder / "data", folder / "server.log", classpath
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, port: int | None = None) -> list[str]:
        where = ["--port", str(port or self.port), "--data", str(self.data), "--classpath", self.classpath]
        return [sys.executable, "-m", "infra.local.mongo_server", *where]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log)
        eventually(self.answers, "the server answers", within=30)

    def answers(self) -> bool:
        """Whether the server answers yet. Fails where it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            with self.client(serverSelectionTimeoutMS=100) as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def end(self, by: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(30)

    def client(self, **options) -> MongoClient[dict[str, Any]]:
        return MongoClient("127.0.0.1", self.port, tz_aware=True, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    (paths,) = jars.fetch([jars.LOCKS["mongodb"]], lambda _: None).values()
    server = Server(tmp_path_factory.mktemp("mongo"), jars.classpath(paths))
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0, server.log.read_text()


@pytest.fixture
def db(server, request):
    with server.client() as client:
        yield client[f"t{abs(hash(request.node.name)):020d}"]


def ids(documents) -> list[Any]:
    return sorted(document["_id"] for document in documents)


def in_threads(work, count=THREADS) -> list[Any]:
    """What `work(number)` gives or raises in each of `count` threads that start together."""
    ready = threading.Barrier(count)

    def start(number):
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        tasks = [pool.submit(start, number) for number in range(count)]
        return [task.exception() or task.result() for task in tasks]


# What it refuses

ADULTS = {"age": {"$gte": 18}}
ENGLISH = {"locale": "en", "strength": 2}
REFUSED = {
    "partialFilterExpression": (lambda t: t.create_index("a", partialFilterExpression=ADULTS), "unique sparse index"),
    "expireAfterSeconds": (lambda t: t.create_index("a", expireAfterSeconds=9), "scheduled sweep"),
    "collation in index": (lambda t: t.create_index("a", collation=ENGLISH), "case-folded copy"),
    "hidden": (lambda t: t.create_index("a", hidden=True), "drop the index"),
    "index kind 'text'": (lambda t: t.create_index([("a", "text")]), "folded words"),
    "collation in find": (lambda t: list(t.find({}, collation=ENGLISH)), "case-folded copy"),
    "collation in aggregate": (lambda t: list(t.aggregate([], collation=ENGLISH)), "case-folded copy"),
    "collation in update": (lambda t: t.update_one({}, {"$set": {"a": 1}}, collation=ENGLISH), "case-folded copy"),
    "collation in delete": (lambda t: t.delete_one({}, collation=ENGLISH), "case-folded copy"),
    "collation in count": (lambda t: t.database.command("count", t.name, collation=ENGLISH), "case-folded copy"),
    "collation in distinct": (lambda t: t.distinct("a", collation=ENGLISH), "case-folded copy"),
    "collation in findAndModify": (
        lambda t: t.find_one_and_update({}, {"$set": {"a": 1}}, collation=ENGLISH),
        "case-folded copy",
    ),
    "validator": (lambda t: t.database.create_collection("v", validator=ADULTS), "before they are written"),
    "capped": (lambda t: t.database.create_collection("c", capped=True, size=4096), "scheduled sweep"),
    "viewOn": (lambda t: t.database.create_collection("w", viewOn=t.name, pipeline=[]), "with aggregate"),
    "collation in create": (lambda t: t.database.create_collection("k", collation=ENGLISH), "case-folded copy"),
    "collMod": (lambda t: t.database.command("collMod", t.name, validator=ADULTS), "no options"),
    "renameCollection": (lambda t: t.rename("other"), "into a new collection"),
    "w: 0": (
        lambda t: t.database.command("insert", t.name, documents=[{"a": 1}], writeConcern={"w": 0}),
        "wait for the answer",
    ),
    "w: 3": (lambda t: t.with_options(write_concern=WriteConcern(w=3)).insert_one({}), "majority"),
    "read concern snapshot": (
        lambda t: t.with_options(read_concern=ReadConcern("snapshot")).find_one(),
        "local or majority",
    ),
    "items.$ in projection": (lambda t: t.find_one({"items.x": 2}, {"items.$": 1}), "$elemMatch"),
    "computed field": (lambda t: t.find_one({}, {"b": {"$toUpper": "$a"}}), "0, 1, $slice or $elemMatch"),
    "$slice alone": (lambda t: t.find_one({}, {"items": {"$slice": 1}}), "beside it"),
    "projection in findAndModify": (
        lambda t: t.find_one_and_update({}, {"$set": {"a": 1}}, projection={"items.$": 1}),
        "$elemMatch",
    ),
    "hint in find": (lambda t: list(t.find({}, hint="_id_")), "leave it out"),
    "hint in update": (lambda t: t.update_many({}, {"$set": {"a": 1}}, hint="_id_"), "leave it out"),
    "hint in aggregate": (lambda t: list(t.aggregate([], hint="_id_")), "leave it out"),
    "let in find": (lambda t: list(t.find({}, let={"x": 1})), "into the filter"),
    "sort in update": (lambda t: t.update_one({}, {"$set": {"a": 1}}, sort={"a": 1}), "by _id and version"),
    "returnKey in find": (lambda t: list(t.find({}, return_key=True)), "would be ignored"),
    "array filter": (
        lambda t: t.update_one({}, {"$set": {"o.$[e].x": 1}}, array_filters=[{"f.x": 1}]),
        "condition on 'e'",
    ),
    "positional $": (lambda t: t.update_one({"o.a": 1, "o.b": 1}, {"$set": {"o.$.x": 1}}), "array_filters"),
    "$pullAll of documents": (lambda t: t.update_one({}, {"$pullAll": {"o": [{"a": 1}]}}), "use $pull"),
    "regular expression in $in": (lambda t: t.find_one({"a": {"$in": [re.compile("x")]}}), "$or"),
    "null in $in": (lambda t: t.find_one({"a": {"$in": [None]}}), "$or"),
    "delete by 'query'": (lambda t: t.delete_many({"query": {"a": 1}}), "by _id"),
    "dot in a field's name": (lambda t: t.replace_one({}, {"a.b": 1}), "nest"),
    "distinct by a path": (lambda t: t.distinct("a.b"), "$unwind"),
    "$addFields": (lambda t: list(t.aggregate([{"$addFields": {"a.b": 1}}])), "$project"),
    "$out": (lambda t: list(t.aggregate([{"$out": "copy"}])), "$merge"),
    "$push in $group": (lambda t: list(t.aggregate([{"$group": {"_id": 1, "all": {"$push": "$a"}}}])), "documents"),
    "$facet without collection": (lambda t: list(t.database.no.aggregate([{"$facet": {"a": []}}])), "first"),
    "all indexes": (lambda t: t.drop_indexes(), "by its name"),
    "listCollections": (lambda t: list(t.database.list_collections(filter={"type": "view"})), "NAME"),
    "transaction": (lambda t: t.database.command("find", t.name, txnNumber=Int64(1)), "one document"),
}


@pytest.mark.parametrize(("act", "instead"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_be_silently_wrong_is_refused_and_changes_nothing(db, act, instead):
    before = {"_id": 1, "a": 1, "items": [{"x": 1}, {"x": 2}], "o": [{"a": 1, "b": 1}]}
    db.things.insert_one(dict(before))

    with pytest.raises(OperationFailure) as refused:
        act(db.things)

    assert refused.value.code == 115
    assert "is not supported by ITLC's embedded MongoDB server" in str(refused.value)
    assert instead in str(refused.value)
    assert list(db.things.find()) == [before]
    assert db.list_collection_names() == ["things"]


def test_a_database_is_not_dropped_while_another_begins_with_its_name(server, db):
    with server.client() as client:
        client["shop"].a.insert_one({"_id": 1})
        client["shop_orders"].a.insert_one({"_id": 2})

        with pytest.raises(OperationFailure, match="'shop_orders'"):
            client.drop_database("shop")
        client.drop_database("shop_orders")
        client.drop_database("shop")

        assert not {"shop", "shop_orders"} & set(client.list_database_names())


def test_an_unacknowledged_write_is_not_done_and_its_connection_is_closed(server):
    with server.client(maxPoolSize=1, w=0) as client:
        things = client.unacknowledged.things
        before = server.log.read_text()
        things.insert_one({"_id": 1})
        acknowledged = things.with_options(write_concern=WriteConcern(w=1))
        with pytest.raises(AutoReconnect):
            acknowledged.insert_one({"_id": 2})

        assert acknowledged.find_one({"_id": 1}) is None
        assert "refused an unacknowledged write" in server.log.read_text()[len(before) :]


def test_what_the_server_cannot_do_at_all_still_fails_visibly(db):
    db.t.insert_one({"_id": 1, "a": "x"})
    for act in (
        lambda: list(db.t.find({"$text": {"$search": "x"}})),
        lambda: db.t.update_one({}, [{"$set": {"a": 1}}]),
        lambda: list(db.t.find({"$expr": {"$regexMatch": {"input": "$a", "regex": "x"}}})),
        lambda: list(db.t.aggregate([{"$unionWith": "u"}])),
        lambda: db.t.update_one({"a": {"$elemMatch": {"x": 1}}}, {"$bit": {"n": {"or": 1}}}, upsert=True),
    ):
        with pytest.raises(OperationFailure):
            act()


# What the application uses


def test_values_come_back_as_they_were_stored(db):
    stored = {
        "_id": ObjectId(), "text": "grüße 😀", "at": NOW + timedelta(milliseconds=7), "whole": 7, "long": Int64(2**60),
        "real": 0.5, "flag": False, "none": None, "money": Decimal128("120.10"), "bytes": b"\x00\xff",
        "list": [1, "a", {"b": [True]}], "nested": {"b": 1, "a": {"c": []}},
    }  # fmt: skip
    db.t.insert_one(dict(stored))

    found = db.t.find_one({"_id": stored["_id"]})
    assert found == stored
    assert list(found) == list(stored)
    assert isinstance(found["long"], Int64)


def test_keyset_pages_with_ties_reach_each_document_once_while_others_are_inserted(db):
    db.t.create_index([("created_at", DESCENDING), ("_id", DESCENDING)])
    db.t.insert_many([{"created_at": NOW - timedelta(seconds=n // 7), "n": n} for n in range(100)])
    seen, after = [], None
    while True:
        condition: dict[str, Any] = {"kind": {"$exists": False}}
        if after is not None:
            at, last = after
            condition["$or"] = [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": last}}]
        page = list(db.t.find(condition).sort([("created_at", -1), ("_id", -1)]).limit(13))
        if not page:
            break
        seen += page
        after = page[-1]["created_at"], page[-1]["_id"]
        db.t.insert_one({"created_at": NOW + timedelta(days=1), "n": 1000})

    assert sorted(document["n"] for document in seen) == list(range(100))
    assert seen == sorted(seen, key=lambda document: (document["created_at"], document["_id"]), reverse=True)


def test_update_one_sets_increments_pushes_pulls_and_unsets(db):
    db.t.insert_one({"_id": 1, "n": 1, "old": True, "tags": ["a"], "o": [{"id": 1}, {"id": 2}]})
    change = {
        "$set": {"s.t": "x"}, "$inc": {"n": 2, "m": 1}, "$push": {"tags": "b"}, "$pull": {"o": {"id": 1}},
        "$unset": {"old": ""},
    }  # fmt: skip

    result = db.t.update_one({"_id": 1, "n": 1}, change)

    assert (result.matched_count, result.modified_count) == (1, 1)
    assert db.t.find_one() == {"_id": 1, "n": 3, "m": 1, "s": {"t": "x"}, "tags": ["a", "b"], "o": [{"id": 2}]}
    assert db.t.update_one({"_id": 1, "n": 1}, change).matched_count == 0


def test_find_one_and_update_returns_the_document_after_and_none_when_the_version_moved_on(db):
    db.t.insert_one({"_id": 1, "version": 1, "name": "a"})

    def rename():
        change = {"$set": {"name": "b"}, "$inc": {"version": 1}}
        return db.t.find_one_and_update({"_id": 1, "version": 1}, change, return_document=ReturnDocument.AFTER)

    assert rename() == {"_id": 1, "version": 2, "name": "b"}
    assert rename() is None
    assert db.t.find_one_and_update({"_id": 1}, {"$inc": {"version": 1}}, projection={"_id": 0, "version": 1}) == {
        "version": 2
    }
    assert db.t.delete_one({"_id": 1, "version": 2}).deleted_count == 0
    assert db.t.delete_one({"_id": 1, "version": 3}).deleted_count == 1


def test_upsert_sets_on_insert_only_on_insert(db):
    for _ in range(2):
        db.t.update_one(
            {"order_id": 7}, {"$set": {"rating": 5}, "$setOnInsert": {"n": 1}, "$inc": {"v": 1}}, upsert=True
        )

    assert db.t.find_one({}, {"_id": 0}) == {"order_id": 7, "rating": 5, "n": 1, "v": 2}


def test_unique_unique_sparse_and_compound_indexes(db):
    db.t.create_index("email", unique=True)
    db.t.create_index("key", unique=True, sparse=True)
    db.t.create_index([("order_id", ASCENDING), ("user_id", ASCENDING)], unique=True, sparse=True)
    db.t.insert_many([{"_id": 1, "email": "a", "key": "k"}, {"_id": 2, "email": "b"}, {"_id": 3, "email": "c"}])

    for duplicate in ({"email": "a"}, {"email": "d", "key": "k"}):
        with pytest.raises(DuplicateKeyError):
            db.t.insert_one(duplicate)
    with pytest.raises(DuplicateKeyError):
        db.t.update_one({"_id": 2}, {"$set": {"key": "k"}})
    db.t.update_one({"_id": 1}, {"$unset": {"key": ""}})
    assert db.t.update_one({"_id": 2}, {"$set": {"key": "k"}}).modified_count == 1
    assert db.t.find_one({"key": "k"})["_id"] == 2
    assert db.t.find_one({"email": {"$in": ["c", "z"]}})["_id"] == 3

    db.t.insert_one({"email": "e", "order_id": 1, "user_id": 1})
    db.t.insert_one({"email": "f", "order_id": 1, "user_id": 2})
    with pytest.raises(DuplicateKeyError):
        db.t.insert_one({"email": "g", "order_id": 1, "user_id": 2})
    assert db.t.count_documents({"order_id": 1}) == 2


def test_words_are_found_by_all_of_them(db):
    db.t.create_index("words")
    db.t.insert_many([{"_id": 1, "words": ["blue", "red"]}, {"_id": 2, "words": ["red"]}, {"_id": 3, "words": "red"}])

    assert ids(db.t.find({"words": {"$all": ["red"]}})) == [1, 2, 3]
    assert ids(db.t.find({"words": {"$all": ["red", "blue"]}})) == [1]
    assert ids(db.t.find({"words": {"$all": ["green"]}})) == []


def test_aggregate_matches_groups_sorts_limits_and_facets(db):
    db.t.insert_many([{"service_id": n % 2, "rating": n % 5 + 1, "at": n} for n in range(10)])
    pipeline = [
        {"$match": {"service_id": 1, "rating": {"$gte": 2, "$lte": 5}}},
        {
            "$facet": {
                "sum": [{"$group": {"_id": None, "count": {"$sum": 1}, "average": {"$avg": "$rating"}}}],
                "distribution": [{"$group": {"_id": "$rating", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}],
                "latest": [{"$sort": {"at": -1}}, {"$limit": 2}, {"$project": {"_id": 0, "at": 1}}],
            }
        },
    ]

    assert list(db.t.aggregate(pipeline)) == [
        {
            "sum": [{"_id": None, "count": 4, "average": 3.5}],
            "distribution": [{"_id": rating, "n": 1} for rating in (2, 3, 4, 5)],
            "latest": [{"at": 9}, {"at": 7}],
        }
    ]
    db.t.delete_many({})
    assert list(db.t.aggregate(pipeline)) == [{"sum": [], "distribution": [], "latest": []}]


def test_merge_writes_what_it_made(db):
    db.t.insert_many([{"_id": n, "x": n % 2} for n in range(4)])

    db.t.aggregate([{"$group": {"_id": "$x", "n": {"$sum": 1}}}, {"$merge": {"into": "counts"}}])

    assert list(db.counts.find().sort("_id")) == [{"_id": 0, "n": 2}, {"_id": 1, "n": 2}]


def test_an_outbox_within_a_document_is_claimed_and_emptied_entry_by_entry(db):
    later, earlier = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
    entries = [
        {"id": 1, "claimed_until": earlier},
        {"id": 2, "claimed_until": later},
        {"id": 3, "claimed_until": earlier},
    ]
    db.t.insert_many(
        [{"_id": 1, "outbox": entries}, {"_id": 2, "outbox": entries[1:2]}, {"_id": 3, "outbox": []}, {"_id": 4}]
    )

    assert ids(db.t.find({"outbox.claimed_until": {"$lt": NOW}})) == [1]
    assert ids(db.t.find({"outbox": {"$elemMatch": {"id": 2, "claimed_until": {"$lt": NOW}}}})) == []
    assert ids(db.t.find({"outbox": {"$elemMatch": {"id": {"$gte": 1}, "claimed_until": {"$gt": NOW}}}})) == [1, 2]
    assert ids(db.t.find({"outbox.0": {"$exists": True}})) == [1, 2]
    assert ids(db.t.find({"outbox.id": {"$exists": False}})) == [3, 4]

    claimed = db.t.find_one_and_update(
        {"_id": 1, "outbox": {"$elemMatch": {"id": 3, "claimed_until": {"$lt": NOW}}}},
        {"$set": {"outbox.$[entry].claimed_until": later}},
        array_filters=[{"entry.id": 3, "entry.claimed_until": {"$lt": NOW}}],
        return_document=ReturnDocument.AFTER,
    )
    assert [entry["claimed_until"] for entry in claimed["outbox"]] == [earlier, later, later]

    db.t.update_one({"_id": 1}, {"$pull": {"outbox": {"id": 2}}, "$inc": {"version": 1}})
    db.t.update_one({"outbox.id": 3, "_id": 1}, {"$set": {"outbox.$.tries": 1}})
    db.t.update_one({"_id": 4}, {"$push": {"outbox": {"$each": [{"id": 9}, {"id": 8}]}}})
    assert db.t.find_one({"_id": 1})["outbox"] == [entries[0], {"id": 3, "claimed_until": later, "tries": 1}]
    assert db.t.find_one({"_id": 4})["outbox"] == [{"id": 9}, {"id": 8}]


def test_conditions_on_arrays_mean_what_they_mean_on_mongodb(db):
    db.t.insert_many(
        [
            {"_id": 1, "items": [{"x": 1}, {"x": 9}], "s": [1, 9]},
            {"_id": 2, "items": [], "s": []},
            {"_id": 3, "items": [{"y": 1}, {"x": 5}], "s": [5]},
        ]
    )
    for condition, expected in (
        ({"s": {"$gt": 4, "$lt": 6}}, [1, 3]),
        ({"items.x": {"$gt": 4, "$lt": 6}}, [1, 3]),
        ({"s": {"$elemMatch": {"$gt": 4, "$lt": 6}}}, [3]),
        ({"items.x": {"$exists": False}}, [2]),
        ({"items.x": {"$not": {"$gt": 5}}}, [2, 3]),
        ({"items.x": {"$ne": 1, "$exists": True}}, [3]),
        ({"items": {}}, []),
    ):
        assert ids(db.t.find(condition)) == expected, condition
        assert db.t.count_documents(condition) == len(expected), condition
    assert db.t.delete_many({"s": {"$gt": 4, "$lt": 6}}).deleted_count == 2


def test_the_positional_operator_changes_the_element_that_its_condition_found(db):
    db.t.insert_one({"_id": 1, "tags": ["a", "b"], "items": [{"id": 1}, {"id": 2}, {"id": 3}]})

    db.t.update_one({"tags": "b", "items.id": 3}, {"$set": {"items.$.x": 1}})

    assert db.t.find_one()["items"] == [{"id": 1}, {"id": 2}, {"id": 3, "x": 1}]


def test_an_ordered_bulk_stops_at_its_first_error_and_counts_what_it_did(db):
    db.t.create_index("k", unique=True)
    db.t.insert_many([{"_id": 1, "k": 1}, {"_id": 2, "k": 2}, {"_id": 3, "k": 3}])

    with pytest.raises(BulkWriteError) as failed:
        db.t.bulk_write([UpdateOne({"_id": n}, {"$set": {"k": k}}) for n, k in ((3, 9), (1, 2), (2, 8))])
    assert failed.value.details["nModified"] == 1
    assert [error["index"] for error in failed.value.details["writeErrors"]] == [1]
    assert [document["k"] for document in db.t.find().sort("_id")] == [1, 2, 9]

    upserts = [UpdateOne({"_id": n}, {"$set": {"k": n}}, upsert=True) for n in (20, 21)]
    assert db.t.bulk_write(upserts).upserted_ids == {0: 20, 1: 21}

    with pytest.raises(BulkWriteError) as failed:
        db.t.insert_many([{"_id": 5, "k": 5}, {"_id": 1}, {"_id": 6, "k": 6}])
    assert failed.value.details["nInserted"] == 1
    with pytest.raises(BulkWriteError) as failed:
        db.t.bulk_write([InsertOne({"_id": n, "k": 100 + n}) for n in (1, 7, 8)], ordered=False)
    assert failed.value.details["nInserted"] == 2


def test_an_index_keeps_its_name_and_meaning(db):
    db.t.create_index("a", name="n")
    db.t.create_index("a", name="n")
    with pytest.raises(OperationFailure) as refused:
        db.t.create_index("b", name="n")
    assert refused.value.code == 86

    db.other.create_index("a", name="n", unique=True)
    db.t.drop_index("n")
    assert list(db.t.index_information()) == ["_id_"]
    assert set(db.other.index_information()) == {"_id_", "n"}


def test_a_unique_index_that_failed_can_be_made_once_the_duplicates_are_gone(db):
    db.t.insert_many([{"_id": 1, "k": 1}, {"_id": 2, "k": 1}])
    with pytest.raises(DuplicateKeyError):
        db.t.create_index("k", unique=True)
    db.t.delete_one({"_id": 2})
    db.t.insert_one({"_id": 3, "k": 3})

    db.t.create_index("k", unique=True)

    assert db.t.find_one({"k": 3}) == {"_id": 3, "k": 3}
    with pytest.raises(DuplicateKeyError):
        db.t.insert_one({"k": 3})


# Many at once


def test_a_reader_never_sees_half_an_update(db):
    fields = [f"f{n}" for n in range(200)]
    db.t.insert_one({"_id": 1, **dict.fromkeys(fields, 0)})
    done = threading.Event()

    def work(number):
        if number == 0:
            for n in range(250):
                db.t.update_one({"_id": 1}, {"$set": dict.fromkeys(fields, n)})
            done.set()
            return 0
        torn = 0
        while not done.is_set():
            document = db.t.find_one({"_id": 1})
            torn += len({document[field] for field in fields}) > 1
        return torn

    assert in_threads(work, 4) == [0] * 4


def test_of_version_guarded_updates_none_is_lost(db):
    db.t.insert_one({"_id": 1, "version": 0, "by": []})

    def work(number):
        for _ in range(20):
            while True:
                version = db.t.find_one({"_id": 1})["version"]
                change = {"$inc": {"version": 1}, "$push": {"by": number}}
                if db.t.find_one_and_update({"_id": 1, "version": version}, change) is not None:
                    break

    assert in_threads(work) == [None] * THREADS
    document = db.t.find_one()
    assert document["version"] == 20 * THREADS
    assert sorted(document["by"]) == sorted(list(range(THREADS)) * 20)


@pytest.mark.parametrize("sparse", [False, True])
def test_of_those_who_race_for_a_unique_value_exactly_one_wins(db, sparse):
    db.t.create_index("key", unique=True, sparse=sparse)
    for round_number in range(10):
        outcomes = in_threads(lambda number, key=round_number: db.t.insert_one({"key": key, "by": number}))
        assert sum(isinstance(outcome, DuplicateKeyError) for outcome in outcomes) == THREADS - 1
        assert db.t.count_documents({"key": round_number}) == 1


# What it keeps


@pytest.mark.parametrize("round_number", [1, 2])
def test_a_kill_in_the_midst_of_inserts_loses_no_acknowledged_one(server, db, round_number):
    name = db.name
    acknowledged: list[list[Any]] = [[] for _ in range(THREADS)]
    db.t.create_index("key", unique=True)
    enough = threading.Event()

    def work(number):
        try:
            for n in range(10_000):
                db.t.insert_one({"_id": f"{number}-{n}", "key": f"{number}-{n}", "text": "x" * 100})
                acknowledged[number].append(f"{number}-{n}")
                if sum(map(len, acknowledged)) > 300:
                    enough.set()
        except PyMongoError:
            return

    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(work, number) for number in range(THREADS)]
        assert enough.wait(60)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        assert [task.result() for task in tasks] == [None] * THREADS
    server.start()

    with server.client() as client:
        kept = client[name].t
        expected = {key for keys in acknowledged for key in keys}
        assert expected <= {document["_id"] for document in kept.find()}
        with pytest.raises(DuplicateKeyError):
            kept.insert_one({"key": acknowledged[0][0]})


def test_data_indexes_and_what_was_dropped_survive_a_restart(server, db):
    db.t.create_index("k", unique=True)
    db.t.create_index([("a", 1), ("b", -1)], name="pair")
    db.gone.insert_one({"_id": 1})
    db.t.insert_many([{"_id": n, "k": n, "words": ["a", str(n)]} for n in range(50)])
    db.with_options(write_concern=WriteConcern(w="majority", j=True)).t.delete_one({"_id": 3})
    db.gone.drop()

    assert server.end(signal.SIGINT) == 0
    server.start()

    with server.client() as client:
        kept = client[db.name]
        assert ids(kept.t.find()) == [n for n in range(50) if n != 3]
        assert set(kept.t.index_information()) == {"_id_", "k_1", "pair"}
        assert kept.list_collection_names() == ["t"]
        with pytest.raises(DuplicateKeyError):
            kept.t.insert_one({"k": 4})


def test_a_file_that_is_mostly_stale_is_compacted_at_start(server, db):
    file = server.data / "mongodb.mv"
    text = os.urandom(100_000).hex()
    for n in range(60):
        db.t.replace_one({"_id": 1}, {"n": n, "text": text[n:]}, upsert=True)
    assert file.stat().st_size > 8_000_000

    assert server.end(signal.SIGTERM) == 0
    before = file.stat().st_size
    server.start()

    assert file.stat().st_size < before / 2
    with server.client() as client:
        assert client[db.name].t.find_one({"_id": 1}) == {"_id": 1, "n": 59, "text": text[59:]}


# How it starts


def start_in_vain(command: list[str]) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    return ended.stderr


def test_a_second_server_on_the_same_data_is_told_so(server):
    assert "is in use by another server" in start_in_vain(server.command(port=free_port()))


def test_a_port_that_is_taken_is_named(server, tmp_path):
    command = server.command()
    command[command.index(str(server.data))] = str(tmp_path)
    assert f"cannot listen on 127.0.0.1:{server.port}" in start_in_vain(command)


def test_a_jar_that_is_missing_and_a_port_that_is_none_are_named(server, tmp_path):
    command = server.command()
    command[command.index(server.classpath)] = str(tmp_path / "no.jar")
    assert "no.jar" in start_in_vain(command)
    assert "'70000' is not a port" in start_in_vain(server.command(port=70_000))
