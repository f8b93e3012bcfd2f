"""The embedded stack: PostgreSQL, a MongoDB server, Neo4j and an AWS emulator, on loopback, from wheels and jars.

    stack = Stack(default_state_dir())
    endpoints = stack.up(print)      # starts what does not run yet; whatever runs is left alone
    ...
    stack.down()                     # keeps the data

The servers outlive the process that starts them. What is needed to find them again (ports, process ids with the times
of their start, passwords) is in `<state_dir>/stack.json`, data in `<state_dir>/data/<server>`, logs in
`<state_dir>/logs/<server>.log`. With `ITLC_POSTGRES_URL`, `ITLC_MONGODB_URL`, `ITLC_NEO4J_URL` or `AWS_ENDPOINT_URL`
set, that server is used in place of an embedded one.
"""

import fcntl
import json
import os
import shutil
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import aws, jars, mongodb, neo4j, postgres, process, resend
from infra.local.failure import StackError
from infra.local.postgres import Credentials
from infra.local.process import ProcessId
from infra.local.server import Record, Say, Server

__all__ = ["Credentials", "Endpoints", "PartStatus", "Stack", "StackError", "default_state_dir"]

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("postgres", "mongodb", "neo4j", "aws")
EXTERNAL = {
    "postgres": "ITLC_POSTGRES_URL",
    "mongodb": "ITLC_MONGODB_URL",
    "neo4j": "ITLC_NEO4J_URL",
    "aws": "AWS_ENDPOINT_URL",
}
FORMAT = 1
QUEUES_LOST = "queues lost"
"""The mark that the emulator died, and took the messages in its queues along."""


def default_state_dir() -> Path:
    """`ITLC_STATE_DIR`, else `.itlc` in the repository."""
    named = os.environ.get("ITLC_STATE_DIR")
    return Path(named).expanduser().absolute() if named else ROOT / ".itlc"


@dataclass(frozen=True)
class Endpoints:
    """How to reach every part of a running stack. URLs hold passwords."""

    postgres_admin_url: str
    postgres: Mapping[str, Credentials]
    """By database: `itlc_users`, `itlc_api`, `itlc_orders`, `itlc_tokens`, `itlc_templates`."""
    mongodb_url: str
    neo4j_uri: str
    neo4j_user: str
    neo4j_password: str
    neo4j_database: str
    aws_endpoint: str
    region: str
    pids: Mapping[str, int | None]
    """By server: `postgres`, `mongodb`, `neo4j`, `aws`; None for one that the stack did not start."""
    state_dir: Path


@dataclass(frozen=True)
class PartStatus:
    """One server as it is now. `address` has no password in it."""

    name: str
    title: str
    running: bool
    external: bool
    pid: int | None
    address: str | None
    log: Path | None


class Stack:
    """The stack that lives in the folder `state_dir`.

    `durable=False` is for tests: it saves the time that surviving a power cut costs, and the emulator forgets all when
    it ends; what PostgreSQL, the MongoDB server and Neo4j have acknowledged survives a kill even so.
    """

    def __init__(self, state_dir: Path, *, durable: bool = True) -> None:
        self.state_dir = state_dir.absolute()
        self.durable = durable
        self._records = {name: Record() for name in NAMES}
        self._background: ProcessId | None = None
        self._marks: dict[str, bool] = {}
        self._saving = threading.Lock()

    def up(self, progress: Say) -> Endpoints:
        """Start what does not run, side by side, and make the databases and roles that are missing.

        `progress` is called with one line of text at a time. Two calls at once, by whatever process, are safe: the
        second waits. Raises StackError when a part cannot be started; the others are left running.
        """
        with self._locked(progress):
            self._note_lost_queues()
            with ThreadPoolExecutor(len(NAMES)) as pool:
                locks = [jars.LOCKS[name] for name in ("neo4j", "mongodb") if not _external(name)]
                fetched = pool.submit(jars.fetch, locks, progress)
                parts = [pool.submit(self._up, name, fetched.result, progress) for name in NAMES]
                failures = [error for part in parts if (error := part.exception()) is not None]
            self._save()
            if failures:
                raise failures[0]
            endpoints = self._endpoints()
            if self._marks.get(QUEUES_LOST):
                resend.send_again(endpoints, progress)
                self._marks[QUEUES_LOST] = False
                self._save()
            return endpoints

    def down(self) -> list[str]:
        """End every process that the stack started, and keep the data. Gives the names of those that ran.

        Raises StackError when one had to be killed, after all have ended.
        """
        with self._locked(lambda _: None):
            self._note_lost_queues()
            ran, killed = self._end_all()
            if any(server.name == "aws" for server in killed):
                self._marks[QUEUES_LOST] = True
                self._save()
        for server in killed:
            raise server.fail(
                "it did not end when asked to, and was killed",
                "nothing at once: what it had acknowledged is kept, and `itlc up` starts it again",
            )
        return [server.name for server in ran]

    def _note_lost_queues(self) -> None:
        """Remember that the emulator died, with the messages in its queues, until they are sent again."""
        emulator = self._records["aws"].process
        if emulator is not None and not process.alive(emulator):
            self._marks[QUEUES_LOST] = True
            self._save()

    def clean(self) -> None:
        """End everything and delete the stack's data, logs and records.

        Raises StackError, and deletes nothing, when a damaged record leaves it unknown what runs.
        """
        with self._locked(lambda _: None):
            self._end_all()
            for name in ("data", "logs"):
                shutil.rmtree(self.state_dir / name, ignore_errors=True)
            for name in ("stack.json", "stack.lock"):
                (self.state_dir / name).unlink(missing_ok=True)
            with suppress(OSError):  # others may keep something there
                self.state_dir.rmdir()

    def status(self) -> list[PartStatus]:
        """Each server as it is now."""
        self._load()
        return [self._status(name) for name in NAMES]

    def endpoints(self) -> Endpoints:
        """How to reach the running stack. Raises StackError naming the first part that is not up."""
        self._load()
        for part in self.status():
            if not part.running:
                why = f"{part.title} is not up"
                raise StackError(part.name, why, log=part.log, what_to_do="start it with `itlc up`")
        return self._endpoints()

    def marked(self, what: str) -> bool:
        """Whether `mark(what)` was called since these data began."""
        self._load()
        return self._marks.get(what, False)

    def mark(self, what: str) -> None:
        """Remember `what` (for instance, that the demo was played) for as long as these data live."""
        with self._locked(lambda _: None):
            self._marks[what] = True
            self._save()

    def prepare_next_start(self) -> None:
        """Begin to make, in the background, what lets Neo4j start in half the time. Does nothing where that is made."""
        if _external("neo4j"):
            return
        with self._locked(lambda _: None):
            paths = [jars.repository() / jar.path for jar in jars.read_lock(jars.LOCKS["neo4j"])]
            if process.alive(self._background) or neo4j.aot_cache(paths).exists():
                return
            self._background = process.launch(
                [sys.executable, "-m", "infra.local.neo4j_aot", "--state-dir", str(self.state_dir)],
                log=self.state_dir / "logs" / "neo4j_aot.log",
                environment={
                    **process.base_environment(),
                    "PYTHONPATH": str(ROOT),
                    **{name: os.environ[name] for name in ("XDG_CACHE_HOME", "M2_REPO") if name in os.environ},
                },
                mark=str(self.state_dir),
                folder=self.state_dir,
            )
            self._save()

    def _up(self, name: str, fetched: Callable[[], dict[Path, list[Path]]], say: Say) -> None:
        if url := _external(name):
            _check_external(name, url)
        else:
            paths = fetched()[jars.LOCKS[name]] if name in jars.LOCKS else None
            self._server(name, paths).up(say)
        if name == "postgres":
            postgres.provision(self._admin_url(), self._records["postgres"], exclusive=_external(name) is None)

    def _server(self, name: str, paths: list[Path] | None = None) -> Server:
        record, save = self._records[name], self._save
        match name:
            case "postgres":
                return postgres.Postgres(self.state_dir, record, save, durable=self.durable)
            case "mongodb":
                return mongodb.Mongodb(self.state_dir, record, save, durable=self.durable, paths=paths)
            case "neo4j":
                return neo4j.Neo4j(self.state_dir, record, save, durable=self.durable, paths=paths)
            case _:
                return aws.Aws(self.state_dir, record, save, durable=self.durable)

    def _status(self, name: str) -> PartStatus:
        server = self._server(name)
        if url := _external(name):
            running = True
            try:
                _check_external(name, url)
            except StackError:
                running = False
            return PartStatus(name, server.title, running, True, None, _without_password(url), None)
        record = server.record
        scheme = {"postgres": "postgresql", "mongodb": "mongodb", "neo4j": "bolt", "aws": "http"}[name]
        try:
            running = server.running()
        except StackError:
            running = False
        address = None if record.port is None else f"{scheme}://127.0.0.1:{record.port}"
        pid = record.process.pid if running and record.process else None
        return PartStatus(name, server.title, running, False, pid, address, server.log if server.log.exists() else None)

    def _admin_url(self) -> str:
        if url := _external("postgres"):
            return url
        return postgres.Postgres(self.state_dir, self._records["postgres"], self._save, durable=self.durable).admin_url

    def _endpoints(self) -> Endpoints:
        admin_url = self._admin_url()
        if bolt := _external("neo4j"):
            neo4j_uri, neo4j_user, neo4j_password = _split_bolt(bolt)
        else:
            neo4j_uri = f"bolt://127.0.0.1:{self._server('neo4j').port}"
            neo4j_user, neo4j_password = neo4j.USER, self._records["neo4j"].password(neo4j.USER)
        return Endpoints(
            postgres_admin_url=admin_url,
            postgres=postgres.credentials(admin_url, self._records["postgres"]),
            mongodb_url=_external("mongodb")
            or f"mongodb://127.0.0.1:{self._server('mongodb').port}/{mongodb.DATABASE}",
            neo4j_uri=neo4j_uri,
            neo4j_user=neo4j_user,
            neo4j_password=neo4j_password,
            neo4j_database=os.environ.get("ITLC_NEO4J_DATABASE", neo4j.DATABASE),
            aws_endpoint=_external("aws") or f"http://127.0.0.1:{self._server('aws').port}",
            region=aws.region() if _external("aws") else aws.REGION,
            pids={
                name: None if _external(name) or record.process is None else record.process.pid
                for name, record in self._records.items()
            },
            state_dir=self.state_dir,
        )

    def _end_all(self) -> tuple[list[Server], list[Server]]:
        """End what runs. Gives the servers that ran, and those of them that had to be killed."""
        process.end(self._background, mark=str(self.state_dir), patience=5)
        self._background = None
        servers = [self._server(name) for name in NAMES]
        ran = [server for server in servers if process.alive(server.record.process)]
        with ThreadPoolExecutor(len(NAMES)) as pool:
            clean = list(pool.map(Server.down, servers))
        return ran, [server for server, well in zip(servers, clean, strict=True) if not well]

    @contextmanager
    def _locked(self, say: Say) -> Iterator[None]:
        """Hold the stack's lock, with the records as they are on disk."""
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            file = (self.state_dir / "stack.lock").open("w")
        except OSError as error:
            raise StackError(
                "stack", f"{self.state_dir} cannot be used: {error}", what_to_do="set ITLC_STATE_DIR to another folder"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another itlc command on the same stack")
                fcntl.flock(file, fcntl.LOCK_EX)
            self._load()
            yield

    def _load(self) -> None:
        file = self.state_dir / "stack.json"
        try:
            data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            records = {name: Record.from_json(data["servers"][name]) for name in NAMES}
            background = data["background"] and ProcessId(*data["background"])
            marks = data["marks"]
        except FileNotFoundError:
            records, background, marks = {name: Record() for name in NAMES}, None, {}
        except (ValueError, KeyError, TypeError) as error:
            raise StackError(
                "stack",
                f"{file} cannot be read: {error!r}",
                what_to_do="it holds the data's passwords: put it back from a copy, or remove the folder with all data",
            ) from error
        self._records, self._background, self._marks = records, background, marks

    def _save(self) -> None:
        with self._saving:
            background = self._background
            data = {
                "format": FORMAT,
                "servers": {name: record.as_json() for name, record in self._records.items()},
                "background": background and [background.pid, background.started],
                "marks": self._marks,
            }
            new = self.state_dir / "stack.json.new"
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.state_dir / "stack.json")


def _external(name: str) -> str | None:
    """The address of the server that the environment names in place of the embedded one."""
    return os.environ.get(EXTERNAL[name]) or None


def _split_bolt(url: str) -> tuple[str, str, str]:
    """The address without the password, the user and the password of a Neo4j URL."""
    parts = urllib.parse.urlsplit(url)
    if not parts.username or parts.password is None:
        raise StackError(
            "neo4j",
            "ITLC_NEO4J_URL names no user and password",
            what_to_do="write it as neo4j://user:password@host:7687",
        )
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return address, urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password)


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _check_external(name: str, url: str) -> None:
    """Raises StackError when the server at `url` does not answer."""
    try:
        match name:
            case "mongodb":
                mongodb.ping(url)
            case "neo4j":
                neo4j.ask(*_split_bolt(url))
            case "aws":
                if not aws.healthy(url):
                    raise ConnectionError("no answer from /_localstack/health")
            case _:
                postgres.ask(url)
    except StackError:
        raise
    except Exception as error:
        raise StackError(
            name,
            f"the server that {EXTERNAL[name]} names, {_without_password(url)}, does not answer: {error}",
            what_to_do=f"start that server, mend the address, or unset {EXTERNAL[name]} to use an embedded one",
        ) from error
