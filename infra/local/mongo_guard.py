"""What the embedded MongoDB server must not be asked, and why: rules over plain Python, without Java or a network.

mongo-java-server 1.47 answers some commands of MongoDB with "ok" and does something else: it ignores an option, reads a
filter otherwise, or stores what a restart loses. Code that passes on it would then break, or lose data, on MongoDB.
Each such case is refused here by name, with what to use instead; what the server itself refuses is left to it. Three
cases are put right rather than refused: conditions on arrays (`exact`), bulks of ordered updates and replies (both in
`mongo_server`).

A command is its document as MongoDB's wire protocol carries it, as dicts and lists; its first key is its name. A
regular expression is a `Regex`, null is None, and values of other types may be any object. The documents of an
`insert` are not looked at.

Known to be wrong, and not refused because a command does not show it: a regular expression matches a number, and an
array as if it were written out in one string; `$unset: {"items.x": 1}` without `$[]` works on an array's elements;
`$inc` wraps around beyond 64 bits; `$set` keeps a number that is equal but of another type, and `$addToSet` adds it;
`$group` by an array groups by its least element; strings sort by UTF-16; two Decimal128 that are equal as doubles are
equal; a time limit (`maxTimeMS`) is the driver's only. An explicit null under a unique sparse index makes updates of
documents without that field fail.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Command = Mapping[str, Any]
Filter = Mapping[str, Any]

COMMAND_NOT_SUPPORTED = (115, "CommandNotSupported")
INDEX_OPTIONS_CONFLICT = (85, "IndexOptionsConflict")
INDEX_KEY_SPECS_CONFLICT = (86, "IndexKeySpecsConflict")


@dataclass(frozen=True)
class Regex:
    """A regular expression within a command: its pattern and its option letters, such as `i`."""

    pattern: str
    options: str = ""


# What any command may carry: addressing, tracing, and the driver's own time limit.
COMMON_OPTIONS = frozenset({"$db", "lsid", "$readPreference", "$clusterTime", "comment", "maxTimeMS"})

# What the server honours, or may leave undone because the result is the same on one machine.
KNOWN_OPTIONS = {
    "find": {"filter", "sort", "projection", "skip", "limit", "batchSize", "singleBatch", "noCursorTimeout"}
    | {"allowPartialResults", "allowDiskUse", "readConcern"},
    "aggregate": {"pipeline", "cursor", "allowDiskUse", "bypassDocumentValidation", "readConcern", "writeConcern"},
    "count": {"query", "limit", "skip", "readConcern"},
    "distinct": {"key", "query", "readConcern"},
    "insert": {"documents", "ordered", "bypassDocumentValidation", "writeConcern"},
    "update": {"updates", "ordered", "bypassDocumentValidation", "writeConcern"},
    "delete": {"deletes", "ordered", "writeConcern"},
    "findandmodify": {"query", "sort", "update", "new", "upsert", "remove", "fields", "arrayFilters"}
    | {"bypassDocumentValidation", "writeConcern"},
    "create": {"writeConcern"},
    "drop": {"writeConcern"},
    "dropdatabase": {"writeConcern"},
    "createindexes": {"indexes", "writeConcern"},
    "dropindexes": {"index", "writeConcern"},
    "getmore": {"collection", "batchSize"},
    "listcollections": {"filter", "nameOnly", "authorizedCollections", "cursor"},
    "listindexes": {"cursor"},
    "listdatabases": {"nameOnly", "authorizedDatabases"},
}
KNOWN_UPDATE_OPTIONS = {"q", "u", "multi", "upsert", "arrayFilters"}
KNOWN_DELETE_OPTIONS = {"q", "limit"}
KNOWN_INDEX_OPTIONS = {"key", "name", "unique", "sparse", "v", "background", "ns", "comment"}

INSTEAD = {
    "collation": "keep a case-folded copy of the field beside it, and filter, sort and index that",
    "hint": "leave it out; it would not be honoured",
    "let": "write the values into the filter or the pipeline",
    "explain": "measure on MongoDB itself",
    "sort": "find the document with find_one and a sort, then update it by _id and version",
    "partialFilterExpression": "keep a field of its own in the documents that count, with a unique sparse index on it",
    "expireAfterSeconds": "delete what has expired in a scheduled sweep",
    "hidden": "drop the index",
    "validator": "validate documents before they are written",
    "validationLevel": "validate documents before they are written",
    "validationAction": "validate documents before they are written",
    "capped": "use an ordinary collection and delete the oldest in a scheduled sweep",
    "size": "use an ordinary collection and delete the oldest in a scheduled sweep",
    "max": "use an ordinary collection and delete the oldest in a scheduled sweep",
    "viewOn": "run the view's pipeline with aggregate",
    "pipeline": "run the view's pipeline with aggregate",
    "timeseries": "use an ordinary collection",
    "txnNumber": "there are no transactions: keep what changes together in one document",
    "startTransaction": "there are no transactions: keep what changes together in one document",
    "autocommit": "there are no transactions: keep what changes together in one document",
}
TRANSACTION_OPTIONS = ("txnNumber", "startTransaction", "autocommit")

REFUSED_COMMANDS = {
    "renamecollection": "write the documents into a new collection and drop the old one; after a restart the renamed "
    "collection would be empty",
    "collmod": "collections have no options here, and indexes are dropped and made anew",
    "explain": "measure on MongoDB itself",
}

REFUSED_STAGES = {
    "$addFields": "name every field in a $project; this stage would change the stored documents",
    "$out": "use $merge; after a restart the collection that $out wrote would be empty",
    "$graphLookup": "follow the references in the application",
    "$redact": "use $match and $project",
    "$indexStats": "measure on MongoDB itself",
    "$changeStream": "write events into an outbox and read that",
}

LOGICAL = ("$and", "$or", "$nor")


def refusal(command: Command, namespaces: Callable[[], Collection[str]] = tuple) -> str | None:
    """Why `command` is refused, in words for its sender, or None when it may be run.

    `namespaces` gives the names of all collections that there are (`database.collection`), and is called only when an
    answer depends on them.
    """
    return next(_refusals(command, namespaces), None)


def _refused(what: str, instead: str) -> str:
    return f"{what} is not supported by ITLC's embedded MongoDB server: {instead}"


def _refusals(command: Command, namespaces: Callable[[], Collection[str]]) -> Iterator[str]:
    name = next(iter(command))
    kind = name.lower()
    if kind in REFUSED_COMMANDS:
        yield _refused(name, REFUSED_COMMANDS[kind])
    for option in TRANSACTION_OPTIONS:
        if option in command:
            yield _refused(option, INSTEAD[option])
    if kind in KNOWN_OPTIONS:
        yield from _unknown_options(list(command)[1:], KNOWN_OPTIONS[kind] | COMMON_OPTIONS, name)
    yield from _concerns(command)
    if kind == "dropdatabase":
        yield from _drop_database(command["$db"], namespaces())
    elif kind == "createindexes":
        for index in command.get("indexes", ()):
            yield from _index(index)
    elif kind == "dropindexes" and command.get("index") == "*":
        yield _refused("dropping all indexes at once", "drop each by its name")
    elif kind == "listcollections":
        yield from _list_collections(command.get("filter") or {})
    elif kind == "distinct" and "." in command.get("key", ""):
        yield _refused("distinct by a path", f"use aggregate with $unwind and $group on {command['key']!r}")
    elif kind == "aggregate":
        yield from _pipeline(command, namespaces)
    yield from _writes(kind, command)
    for condition in _filters(kind, command):
        yield from _filter(condition)
    yield from _projection((command.get("projection") or {}) if kind == "find" else (command.get("fields") or {}))


def _unknown_options(options: Collection[str], known: Collection[str], where: str) -> Iterator[str]:
    for option in options:
        if option not in known:
            yield _refused(f"{option} in {where}", INSTEAD.get(option, "leave it out; it would be ignored"))


def _concerns(command: Command) -> Iterator[str]:
    write = (command.get("writeConcern") or {}).get("w", 1)
    if write == 0:
        yield _refused("w: 0 (an unacknowledged write)", "write with w: 1, and wait for the answer")
    elif write not in (1, "majority"):
        yield _refused(f"w: {write}", 'there is one server; write with w: 1 or "majority"')
    read = (command.get("readConcern") or {}).get("level")
    if read not in (None, "local", "available", "majority"):
        yield _refused(f"read concern {read}", "read with local or majority; each command sees whole documents")


def _drop_database(name: str, namespaces: Collection[str]) -> Iterator[str]:
    databases = {namespace.partition(".")[0] for namespace in namespaces}
    hit = sorted(other for other in databases if other != name and other.startswith(name))
    if hit:
        yield _refused(
            f"dropping database {name!r} while {', '.join(map(repr, hit))} begins with its name",
            f"drop the collections of {name!r} one by one; dropping it whole would destroy the other's too",
        )


def _list_collections(condition: Filter) -> Iterator[str]:
    if condition and not (set(condition) == {"name"} and isinstance(condition["name"], str)):
        yield _refused("this filter in listCollections", 'list all collections, or filter by {"name": NAME}')


def _index(index: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown_options(list(index), KNOWN_INDEX_OPTIONS, f"index {index.get('name')!r}")
    for path, order in index.get("key", {}).items():
        if isinstance(order, str) or order not in (1, -1):
            yield _refused(
                f"an index of kind {order!r} on {path!r}",
                "use 1 or -1; to search text, keep an array of its folded words, index it, and filter with $all",
            )


def index_conflict(wanted: Mapping[str, Any], existing: Collection[Mapping[str, Any]]) -> tuple[int, str, str] | None:
    """How the index `wanted` contradicts one of `existing`, as (code, code's name, message), or None.

    The embedded server would keep the old index and say "ok"; MongoDB refuses with these codes.
    """
    meaning = _meaning(wanted)
    for index in existing:
        same_name = index["name"] == wanted.get("name")
        if same_name and _meaning(index) != meaning:
            text = f"an index named {wanted['name']!r} with other keys or options is there already: drop it first"
            return (*INDEX_KEY_SPECS_CONFLICT, text)
        if not same_name and _meaning(index) == meaning and list(index["key"]) != ["_id"]:
            return (*INDEX_OPTIONS_CONFLICT, f"this index is there already, under the name {index['name']!r}")
    return None


def _meaning(index: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = [(path, int(order)) for path, order in index["key"].items()]
    return keys, bool(index.get("unique")) and keys != [("_id", 1)], bool(index.get("sparse"))


def _writes(kind: str, command: Command) -> Iterator[str]:
    if kind == "update":
        for entry in command.get("updates", ()):
            yield from _unknown_options(list(entry), KNOWN_UPDATE_OPTIONS, "update")
            yield from _update(entry.get("q") or {}, entry.get("u"), entry.get("arrayFilters") or ())
    elif kind == "findandmodify":
        yield from _update(command.get("query") or {}, command.get("update"), command.get("arrayFilters") or ())
    elif kind == "delete":
        for entry in command.get("deletes", ()):
            yield from _unknown_options(list(entry), KNOWN_DELETE_OPTIONS, "delete")
            for field in ("query", "$query"):
                if field in (entry.get("q") or {}):
                    yield _refused(f"deleting by a field named {field!r}", "find the documents, and delete them by _id")


def _update(condition: Filter, change: Any, array_filters: Collection[Mapping[str, Any]]) -> Iterator[str]:
    if not isinstance(change, Mapping):
        return
    if not any(key.startswith("$") for key in change):
        for key in change:
            if "." in key:
                yield _refused(f"a dot in the field name {key!r}", "nest the field in a document")
        return
    given = {path.partition(".")[0] for element in array_filters for path in element}
    for path in _changed_paths(change):
        for part in path.split("."):
            if part.startswith("$[") and part not in ("$[]", "$["):
                name = part[2:-1]
                if name not in given:
                    yield _refused(f"{part} without its filter", f"give array_filters a condition on {name!r}")
    for prefix in _positional_prefixes(change):
        if not _decides_position(condition, prefix):
            yield _refused(
                f"{prefix}.$ with this filter",
                f"give the filter exactly one plain condition on {prefix!r}, or use $[name] with array_filters",
            )
    for path, value in (change.get("$pullAll") or {}).items():
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield _refused(f"$pullAll of documents from {path!r}", "use $pull with a condition on a field of theirs")


def _changed_paths(change: Mapping[str, Any]) -> Iterator[str]:
    for operand in change.values():
        if isinstance(operand, Mapping):
            yield from operand


def _positional_prefixes(change: Any) -> list[str]:
    """The arrays that `change` changes by the positional `$`: `items` for `items.$.x`."""
    if not isinstance(change, Mapping):
        return []
    parts = [path.split(".") for path in _changed_paths(change)]
    return list(dict.fromkeys(".".join(path[: path.index("$")]) for path in parts if "$" in path))


def _conditions_on(condition: Filter, prefix: str) -> list[str]:
    return [path for path in condition if path == prefix or path.startswith(f"{prefix}.")]


def _decides_position(condition: Filter, prefix: str) -> bool:
    paths = _conditions_on(condition, prefix)
    if len(paths) != 1 or any(prefix in str(condition[key]) for key in LOGICAL if key in condition):
        return False
    decisive = condition[paths[0]]
    negative = isinstance(decisive, Mapping) and {"$ne", "$nin"} & set(decisive)
    return not negative and _separate(paths[0], decisive) == [{paths[0]: decisive}]


def _filters(kind: str, command: Command) -> Iterator[Filter]:
    if kind == "update":
        candidates = [entry.get("q") for entry in command.get("updates", ())]
    elif kind == "delete":
        candidates = [entry.get("q") for entry in command.get("deletes", ())]
    elif kind == "find":
        candidates = [command.get("filter")]
    elif kind in ("count", "distinct", "findandmodify"):
        candidates = [command.get("query")]
    else:
        candidates = []
    yield from (condition for condition in candidates if isinstance(condition, Mapping))


def _filter(condition: Filter) -> Iterator[str]:
    for path, value in condition.items():
        if path in LOGICAL and isinstance(value, list):
            for part in value:
                if isinstance(part, Mapping):
                    yield from _filter(part)
        elif isinstance(value, Mapping) and not path.startswith("$"):
            yield from _operators(path, value)


def _operators(path: str, operators: Mapping[str, Any]) -> Iterator[str]:
    for operator, operand in operators.items():
        if operator == "$in" and isinstance(operand, list):
            if any(isinstance(item, Regex) for item in operand):
                yield _refused(f"a regular expression in $in on {path!r}", "write one $regex each, joined by $or")
            if None in operand:
                yield _refused(f"null in $in on {path!r}", "write {field: null} apart, joined by $or")
        elif operator in ("$gte", "$lte") and operand is None:
            yield _refused(f"{operator}: null on {path!r}", "write {field: null}")
        elif operator == "$not" and isinstance(operand, Mapping):
            yield from _operators(path, operand)
        elif operator == "$elemMatch" and isinstance(operand, Mapping):
            yield from _filter(operand)
            yield from _operators(path, {key: operand[key] for key in operand if key.startswith("$")})


def _projection(projection: Mapping[str, Any]) -> Iterator[str]:
    included = any(_is_flag(value) and value and path != "_id" for path, value in projection.items())
    for path, value in projection.items():
        if path == "$" or path.endswith(".$"):
            yield _refused(f"{path} in a projection", "use $elemMatch in the projection")
        elif _is_flag(value):
            continue
        elif isinstance(value, Mapping) and set(value) == {"$slice"}:
            if not included:
                yield _refused(f"$slice on {path!r} alone", "name the other fields to return with 1 beside it")
        elif isinstance(value, Mapping) and set(value) == {"$elemMatch"}:
            inner = value["$elemMatch"]
            if not isinstance(inner, Mapping) or any(key.startswith("$") for key in inner):
                yield _refused(
                    f"$elemMatch on the plain values of {path!r} in a projection", "read the array and pick from it"
                )
        else:
            yield _refused(f"a computed field ({path!r}) in a projection", "use 0, 1, $slice or $elemMatch")


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _pipeline(command: Command, namespaces: Callable[[], Collection[str]]) -> Iterator[str]:
    yield from _stages(command.get("pipeline") or ())
    facet = any(isinstance(stage, Mapping) and "$facet" in stage for stage in command.get("pipeline") or ())
    collection = f"{command.get('$db')}.{command[next(iter(command))]}"
    if facet and collection not in namespaces():
        # MongoDB answers one document of empty lists, the embedded server none.
        yield _refused(f"$facet on {collection}, which does not exist", "make the collection or its indexes first")


def _stages(pipeline: Collection[Any]) -> Iterator[str]:
    for stage in pipeline:
        for name, details in stage.items() if isinstance(stage, Mapping) else ():
            if name in REFUSED_STAGES:
                yield _refused(name, REFUSED_STAGES[name])
            elif name == "$facet":
                for part in details.values():
                    yield from _stages(part)
            elif name == "$match":
                yield from _filter(details)
            elif name == "$group":
                yield from _group(details)
            elif name == "$project":
                yield from _project(details)
            elif name == "$lookup":
                yield from _lookup(details)


def _group(details: Mapping[str, Any]) -> Iterator[str]:
    for field, accumulator in details.items():
        if field == "_id" or not isinstance(accumulator, Mapping):
            continue
        for operator, value in accumulator.items():
            if operator in ("$push", "$addToSet") and isinstance(value, str) and not value.startswith("$$"):
                yield _refused(
                    f"{operator} of {value!r} alone, which would leave out nulls,",
                    f'collect documents instead: {{"{operator}": {{"value": "{value}"}}}}',
                )


def _project(details: Mapping[str, Any]) -> Iterator[str]:
    for path, value in details.items():
        if "." in path and not (_is_flag(value) and not value):
            yield _refused(f"the path {path!r} in $project", "compute a field of a plain name from it")
        elif isinstance(value, Mapping) and not all(key.startswith("$") for key in value):
            yield _refused(f"a document for {path!r} in $project", "compute fields of plain names")


def _lookup(details: Mapping[str, Any]) -> Iterator[str]:
    for option in ("localField", "as"):
        if "." in str(details.get(option, "")):
            yield _refused(f"a path for {option} in $lookup", "$unwind and $project the value to a plain name first")
    yield from _stages(details.get("pipeline") or ())


def exact(command: Command) -> Command:
    """`command` with its filters in a form that the embedded server reads as MongoDB does: see `exact_filter`.

    The very same object comes back when there is nothing to change.
    """
    kind = next(iter(command)).lower()
    changed: dict[str, Any] = {}
    for key in ("updates", "deletes"):
        if key in command:
            changed[key] = [_exact_entry(entry) for entry in command[key]]
    if kind == "find" and isinstance(command.get("filter"), Mapping):
        changed["filter"] = exact_filter(command["filter"])
    if isinstance(command.get("query"), Mapping):
        changed["query"] = _exact_entry({"q": command["query"], "u": command.get("update")})["q"]
    if kind == "aggregate" and isinstance(command.get("pipeline"), list):
        changed["pipeline"] = _exact_stages(command["pipeline"])
    changed = {key: value for key, value in changed.items() if not _same(value, command[key])}
    return {**command, **changed} if changed else command


def _same(one: Any, other: Any) -> bool:
    # The order of a filter's fields counts: the positional $ takes the first condition's element.
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is other or bool(one == other)


def _exact_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(entry.get("q"), Mapping):
        return entry
    condition = exact_filter(entry["q"])
    for prefix in _positional_prefixes(entry.get("u")):
        first = _conditions_on(condition, prefix)
        condition = {path: condition[path] for path in [*first, *(path for path in condition if path not in first)]}
    return {**entry, "q": condition}


def _exact_stages(pipeline: list[Any]) -> list[Any]:
    stages = []
    for stage in pipeline:
        if isinstance(stage, Mapping):
            if isinstance(stage.get("$match"), Mapping):
                stage = {**stage, "$match": exact_filter(stage["$match"])}
            if isinstance(stage.get("$facet"), Mapping):
                parts = stage["$facet"].items()
                stage = {**stage, "$facet": {name: _exact_stages(part) for name, part in parts}}
            lookup = stage.get("$lookup")
            if isinstance(lookup, Mapping) and isinstance(lookup.get("pipeline"), list):
                stage = {**stage, "$lookup": {**lookup, "pipeline": _exact_stages(lookup["pipeline"])}}
        stages.append(stage)
    return stages


def exact_filter(condition: Filter) -> dict[str, Any]:
    """`condition` with one operator to a condition, and negations as `$nor`, which means the same on MongoDB.

    The embedded server holds two bounds of a range against one element of an array, where MongoDB lets each find its
    own; it forgets operators beside `$ne`, `$nin`, `$all` or `$regex`; it takes `$not` and `$exists: false` below an
    array for "some element", and `$all` on a plain value or `{}` on an array wrongly. Written apart, they come out
    right.
    """
    kept: dict[str, Any] = {}
    apart: list[dict[str, Any]] = []
    for path, value in condition.items():
        if path in LOGICAL and isinstance(value, list):
            kept[path] = [exact_filter(part) if isinstance(part, Mapping) else part for part in value]
        elif path.startswith("$"):
            kept[path] = value
        else:
            parts = _separate(path, value)
            if len(parts) == 1 and list(parts[0]) == [path]:
                kept |= parts[0]
            else:
                apart += parts
    if apart:
        kept["$and"] = [*kept.get("$and", ()), *apart]
    return kept


def _separate(path: str, condition: Any) -> list[dict[str, Any]]:
    if not isinstance(condition, Mapping):
        return [{path: condition}]
    if not condition:
        return [{path: {"$eq": {}}}]
    if not all(key.startswith("$") for key in condition) or "$ref" in condition:
        return [{path: condition}]
    parts: list[dict[str, Any]] = []
    for operator, operand in condition.items():
        if operator == "$options" and "$regex" in condition:
            continue
        if operator == "$regex" and "$options" in condition:
            parts.append({path: {"$regex": operand, "$options": condition["$options"]}})
        elif operator == "$exists" and not operand:
            parts.append({"$nor": [{path: {"$exists": True}}]})
        elif operator == "$not" and isinstance(operand, (Mapping, Regex)):
            parts.append({"$nor": [exact_filter({path: operand})]})
        elif operator == "$all" and isinstance(operand, list) and operand:
            for item in operand:
                parts += _separate(path, item)
        elif operator == "$elemMatch" and isinstance(operand, Mapping):
            parts.append({path: {operator: exact_filter(operand)}})
        else:
            parts.append({path: {operator: operand}})
    return parts
