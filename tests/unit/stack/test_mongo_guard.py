"""The rules of the embedded MongoDB server's guard: what is refused, in which words, and how filters are put."""

from typing import Any

import pytest

from infra.local.mongo_guard import (
    INDEX_KEY_SPECS_CONFLICT,
    INDEX_OPTIONS_CONFLICT,
    Regex,
    exact,
    exact_filter,
    index_conflict,
    refusal,
)


def find(**options):
    return {"find": "blogs", "filter": {}, **options, "$db": "itlc_pbfr"}


def update(condition, change, **options):
    return {
        "update": "blogs",
        "ordered": True,
        "$db": "itlc_pbfr",
        "updates": [{"q": condition, "u": change, **options}],
    }


def index(**options):
    return {"createIndexes": "blogs", "indexes": [{"key": {"a": 1}, "name": "a_1", **options}], "$db": "itlc_pbfr"}


def pipeline(*stages):
    return {"aggregate": "blogs", "pipeline": list(stages), "cursor": {}, "$db": "itlc_pbfr"}


REFUSED = {
    "partial index": (index(unique=True, partialFilterExpression={"a": {"$gt": 1}}), "unique sparse index"),
    "expiring index": (index(expireAfterSeconds=60), "scheduled sweep"),
    "index with a collation": (index(collation={"locale": "en"}), "case-folded copy"),
    "hidden index": (index(hidden=True), "drop the index"),
    "unheard-of index option": (index(wildcardProjection={"a": 1}), "would be ignored"),
    "text index": (index(key={"a": "text"}), "array of its folded words"),
    "capped collection": ({"create": "log", "capped": True, "size": 4096, "$db": "x"}, "delete the oldest"),
    "validator": ({"create": "log", "validator": {"a": 1}, "$db": "x"}, "before they are written"),
    "view": ({"create": "v", "viewOn": "log", "pipeline": [], "$db": "x"}, "with aggregate"),
    "collMod": ({"collMod": "log", "validator": {}, "$db": "x"}, "no options"),
    "renameCollection": ({"renameCollection": "x.a", "to": "x.b", "$db": "admin"}, "write the documents into a new"),
    "drop all indexes": ({"dropIndexes": "blogs", "index": "*", "$db": "x"}, "each by its name"),
    "transaction": ({**find(), "startTransaction": True, "autocommit": False}, "in one document"),
    "unacknowledged": ({"insert": "a", "documents": (), "writeConcern": {"w": 0}, "$db": "x"}, "w: 1"),
    "two copies": ({"insert": "a", "documents": (), "writeConcern": {"w": 2}, "$db": "x"}, "majority"),
    "snapshot": (find(readConcern={"level": "snapshot"}), "local or majority"),
    "find with a collation": (find(collation={"locale": "en"}), "case-folded copy"),
    "find with a hint": (find(hint="a_1"), "leave it out"),
    "find with let": (find(let={"x": 1}), "into the filter"),
    "find with min": (find(min={"a": 1}), "would be ignored"),
    "count with a collation": ({"count": "a", "query": {}, "collation": {}, "$db": "x"}, "case-folded copy"),
    "distinct with a collation": ({"distinct": "a", "key": "k", "collation": {}, "$db": "x"}, "case-folded copy"),
    "distinct by path": ({"distinct": "a", "key": "k.b", "query": {}, "$db": "x"}, "$unwind"),
    "update with a collation": (update({}, {"$set": {"a": 1}}, collation={"locale": "en"}), "case-folded copy"),
    "update with a hint": (update({}, {"$set": {"a": 1}}, hint="a_1"), "leave it out"),
    "update with a sort": (update({}, {"$set": {"a": 1}}, sort={"a": 1}), "by _id and version"),
    "delete with a hint": (
        {"delete": "a", "deletes": [{"q": {}, "limit": 1, "hint": "a"}], "$db": "x"},
        "leave it out",
    ),
    "delete by query": ({"delete": "a", "deletes": [{"q": {"query": {"a": 1}}, "limit": 0}], "$db": "x"}, "by _id"),
    "array filter missing": (update({}, {"$set": {"o.$[e].x": 1}}, arrayFilters=[{"f.id": 1}]), "condition on 'e'"),
    "positional, two conditions": (update({"o.a": 1, "o.b": 2}, {"$set": {"o.$.x": 1}}), "array_filters"),
    "positional, no condition": (update({"_id": 1}, {"$set": {"o.$.x": 1}}), "array_filters"),
    "positional, a range": (update({"o.a": {"$gt": 1, "$lt": 5}}, {"$set": {"o.$.x": 1}}), "array_filters"),
    "positional, a negation": (update({"o.a": {"$ne": 1}}, {"$set": {"o.$.x": 1}}), "array_filters"),
    "positional, also in $or": (update({"o.a": 1, "$or": [{"o.b": 1}]}, {"$set": {"o.$.x": 1}}), "array_filters"),
    "$pullAll of documents": (update({}, {"$pullAll": {"o": [{"id": 1}]}}), "use $pull"),
    "dotted replacement": (update({"_id": 1}, {"a.b": 1}), "nest the field"),
    "regex in $in": (find(filter={"a": {"$in": ["x", Regex("y")]}}), "$or"),
    "null in $in, below $and": (find(filter={"$and": [{"a": {"$in": [None]}}]}), "$or"),
    "$gte null, below $not": (find(filter={"a": {"$not": {"$gte": None}}}), "{field: null}"),
    "projection items.$": (find(projection={"items.$": 1}), "$elemMatch"),
    "projection of an expression": (find(projection={"a": {"$toUpper": "$b"}}), "0, 1, $slice or $elemMatch"),
    "projection of a path": (find(projection={"a": "$b"}), "0, 1, $slice or $elemMatch"),
    "nested projection": (find(projection={"a": {"b": 1}}), "0, 1, $slice or $elemMatch"),
    "$slice alone": (find(projection={"a": {"$slice": 1}}), "beside it"),
    "$slice with _id only": (find(projection={"_id": 1, "a": {"$slice": 1}}), "beside it"),
    "$elemMatch on plain values": (find(projection={"a": {"$elemMatch": {"$gt": 1}}}), "read the array"),
    "findAndModify's fields": ({"findAndModify": "a", "query": {}, "fields": {"a.$": 1}, "$db": "x"}, "$elemMatch"),
    "$addFields": (pipeline({"$addFields": {"a.b": 1}}), "$project"),
    "$out": (pipeline({"$match": {}}, {"$out": "copy"}), "$merge"),
    "$push of a field": (pipeline({"$group": {"_id": None, "all": {"$push": "$x"}}}), '{"$push": {"value": "$x"}}'),
    "path in $project": (pipeline({"$project": {"a.b": 1}}), "plain name"),
    "document in $project": (pipeline({"$project": {"a": {"b": 1}}}), "plain names"),
    "path in $lookup": (
        pipeline({"$lookup": {"from": "b", "localField": "i.r", "foreignField": "r", "as": "o"}}),
        "$unwind",
    ),
    "regex in $in in $match": (pipeline({"$match": {"a": {"$in": [Regex("y")]}}}), "$or"),
    "aggregate with explain": ({**pipeline(), "explain": True}, "measure on MongoDB"),
    "listCollections by type": ({"listCollections": 1, "filter": {"type": "view"}, "$db": "x"}, "NAME"),
}


@pytest.mark.parametrize(("command", "instead"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_be_silently_wrong_is_refused_with_what_to_do_instead(command, instead):
    reason = refusal(command)

    assert reason is not None
    assert "is not supported by ITLC's embedded MongoDB server" in reason
    assert instead in reason


ALLOWED = {
    "find": find(sort={"a": -1}, limit=20, projection={"a": 1, "_id": 0}, batchSize=5, singleBatch=True),
    "find by one": find(filter={"_id": 1}, limit=1, lsid={"id": 1}, comment="why", maxTimeMS=100),
    "slice beside": find(projection={"a": 1, "items": {"$slice": -2}}),
    "elemMatch": find(projection={"items": {"$elemMatch": {"id": 1}}}),
    "majority": {"insert": "a", "documents": (), "writeConcern": {"w": "majority", "j": True}, "$db": "x"},
    "array filters": update({"_id": 1}, {"$set": {"o.$[e].x": 1, "o.$[].y": 2}}, arrayFilters=[{"e.id": 1, "e.x": 2}]),
    "positional": update({"o.id": 3, "_id": 1}, {"$set": {"o.$.x": 1}}),
    "upsert": update({"a": 1}, {"$set": {"b": 1}, "$setOnInsert": {"c": 1}}, upsert=True, multi=False),
    "replacement": update({"_id": 1}, {"a": 1, "b": {"c.d": 1}}),
    "unique sparse": index(unique=True, sparse=True, background=True, v=2),
    "compound": index(key={"a": 1, "b": -1}),
    "drop index": {"dropIndexes": "a", "index": "a_1", "$db": "x"},
    "group": pipeline({"$match": {"a": 1}}, {"$group": {"_id": "$a", "n": {"$sum": 1}, "docs": {"$push": "$$ROOT"}}}),
    "list one": {"listCollections": 1, "filter": {"name": "a"}, "nameOnly": True, "$db": "x"},
    "greeting": {"ismaster": 1, "helloOk": True, "client": {"driver": {}}, "$db": "admin"},
}


@pytest.mark.parametrize("command", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_the_server_does_right_is_let_through_unchanged(command):
    assert refusal(command) is None
    assert exact(command) is command


def test_dropping_a_database_is_refused_only_while_another_begins_with_its_name():
    command = {"dropDatabase": 1, "$db": "itlc"}

    assert "'itlc_pbfr'" in (refusal(command, lambda: {"itlc.a", "itlc_pbfr.blogs"}) or "")
    assert refusal(command, lambda: {"itlc.itlc_pbfr", "other.a"}) is None
    assert refusal({"dropDatabase": 1, "$db": "itlc_pbfr"}, lambda: {"itlc.a", "itlc_pbfr.blogs"}) is None


def test_facet_asks_for_a_collection_that_exists():
    command = pipeline({"$facet": {"all": [{"$match": {}}]}})

    assert "which does not exist" in (refusal(command, lambda: {"itlc_pbfr.faqs"}) or "")
    assert refusal(command, lambda: {"itlc_pbfr.blogs"}) is None


EXACT = {
    "two bounds": ({"a": {"$gt": 1, "$lt": 5}}, {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}),
    "beside $ne": ({"a.b": {"$ne": 1, "$gt": 0}}, {"$and": [{"a.b": {"$ne": 1}}, {"a.b": {"$gt": 0}}]}),
    "beside $and": ({"$and": [{"b": 1}], "a": {"$gt": 1, "$lt": 5}, "c": 2},
                    {"$and": [{"b": 1}, {"a": {"$gt": 1}}, {"a": {"$lt": 5}}], "c": 2}),
    "absent": ({"a.b": {"$exists": False}}, {"$and": [{"$nor": [{"a.b": {"$exists": True}}]}]}),
    "not": ({"a": {"$not": {"$gt": 1, "$lt": 5}}},
            {"$and": [{"$nor": [{"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}]}]}),
    "not like": ({"a": {"$not": Regex("x")}}, {"$and": [{"$nor": [{"a": Regex("x")}]}]}),
    "all": ({"words": {"$all": ["a", "b"]}}, {"$and": [{"words": "a"}, {"words": "b"}]}),
    "all of one": ({"words": {"$all": ["a"]}}, {"words": "a"}),
    "like and not": ({"a": {"$regex": "x", "$options": "i", "$ne": "X"}},
                     {"$and": [{"a": {"$regex": "x", "$options": "i"}}, {"a": {"$ne": "X"}}]}),
    "empty document": ({"a": {}}, {"a": {"$eq": {}}}),
    "within $or": ({"$or": [{"a": {"$gt": 1, "$lt": 5}}, {"b": 1}]},
                   {"$or": [{"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}, {"b": 1}]}),
    "within $elemMatch": ({"o": {"$elemMatch": {"id": 1, "x": {"$exists": False}}}},
                          {"o": {"$elemMatch": {"id": 1, "$and": [{"$nor": [{"x": {"$exists": True}}]}]}}}),
}  # fmt: skip
UNCHANGED = {
    "plain": {"_id": 1, "version": 3},
    "keyset": {"$or": [{"t": {"$lt": 5}}, {"t": 5, "_id": {"$lt": 9}}]},
    "document": {"a": {"b": 1, "c": 2}},
    "in": {"a": {"$in": [1, 2]}},
    "one value's range": {"s": {"$elemMatch": {"$gt": 1, "$lt": 5}}},
    "expression": {"$expr": {"$gt": ["$a", "$b"]}, "$comment": "x"},
    "reference": {"a": {"$ref": "b", "$id": 1}},
    "all of nothing": {"a": {"$all": []}},
}


@pytest.mark.parametrize(("given", "expected"), EXACT.values(), ids=EXACT.keys())
def test_conditions_are_written_apart(given, expected):
    assert exact_filter(given) == expected


@pytest.mark.parametrize("given", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_conditions_that_need_no_change_keep_their_form(given):
    assert exact_filter(given) == given
    assert list(exact_filter(given)) == list(given)


def test_filters_are_put_into_exact_form_in_every_command():
    given, expected = {"a": {"$all": [1]}}, {"a": 1}

    assert exact(find(filter=given))["filter"] == expected
    assert exact({"count": "a", "query": given, "$db": "x"})["query"] == expected
    assert exact({"distinct": "a", "key": "k", "query": given, "$db": "x"})["query"] == expected
    assert exact({"findAndModify": "a", "query": given, "remove": True, "$db": "x"})["query"] == expected
    assert exact(update(given, {"$set": {"b": 1}}))["updates"] == [{"q": expected, "u": {"$set": {"b": 1}}}]
    assert exact({"delete": "a", "deletes": [{"q": given, "limit": 0}], "$db": "x"})["deletes"][0]["q"] == expected
    stages = exact(pipeline({"$match": given}, {"$facet": {"f": [{"$match": given}]}}))["pipeline"]
    assert stages == [{"$match": expected}, {"$facet": {"f": [{"$match": expected}]}}]
    lookup = {"from": "b", "as": "o", "pipeline": [{"$match": given}]}
    assert exact(pipeline({"$lookup": lookup}))["pipeline"][0]["$lookup"]["pipeline"] == [{"$match": expected}]


def test_the_condition_that_decides_a_position_comes_first():
    command = exact(update({"tags": "b", "_id": 1, "o.id": 3}, {"$set": {"o.$.x": 1}}))

    assert list(command["updates"][0]["q"]) == ["o.id", "tags", "_id"]


def code_of(wanted, there):
    conflict = index_conflict(wanted, there)
    assert conflict is not None
    return conflict[:2]


def test_an_index_conflicts_with_another_of_its_name_and_with_itself_under_another_name():
    there: list[dict[str, Any]] = [
        {"name": "a_1", "key": {"a": 1}, "unique": True},
        {"name": "_id_", "key": {"_id": 1}},
    ]

    assert index_conflict({"name": "a_1", "key": {"a": 1}, "unique": True}, there) is None
    assert index_conflict({"name": "b_1", "key": {"b": 1}}, there) is None
    assert index_conflict({"name": "_id_1", "key": {"_id": 1}}, there) is None
    assert code_of({"name": "other", "key": {"a": 1}, "unique": True}, there) == INDEX_OPTIONS_CONFLICT
    for changed in ({"key": {"b": 1}, "unique": True}, {"key": {"a": 1}}, {"key": {"a": -1}, "unique": True}):
        assert code_of({"name": "a_1", **changed}, there) == INDEX_KEY_SPECS_CONFLICT
