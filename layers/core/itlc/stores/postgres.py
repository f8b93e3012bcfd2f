"""The five PostgreSQL databases: one cached connection each, reads without a transaction, writes as whole ones.

No queries here: they are in each domain's `repository.py`. A worker serves one call at a time, so one
connection per database is enough; it is opened when first used and again when it is found dead.
"""

import random
import select
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Dialect, Engine, ExceptionContext, MetaData, NullPool, create_engine, make_url
from sqlalchemy import event as on
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from itlc import events
from itlc.errors import StoreAway
from itlc.idempotency import Answer, Key
from itlc.limits import Window
from itlc.secrets import secret
from itlc.settings import settings
from itlc.stores import bookkeeping, outbox, request_counts
from itlc.stores.circuit import ANSWER_SECONDS, CONNECT_SECONDS, Circuit, circuit
from itlc.stores.keys import PostgresKeys

T = TypeVar("T")

keys = PostgresKeys()

TRIES = 6
LONGEST_READ_SECONDS = 60
WHOLE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
# Of the application's role they are 5 and 10 seconds (infra/local/postgres.py): too little to read whole tables, and
# to wait with one database while another one is read.
LIMITS_OF_A_SNAPSHOT = (
    "SET LOCAL statement_timeout = '60s'",
    "SET LOCAL idle_in_transaction_session_timeout = '15min'",
)
SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
# SQLSTATE classes: connection exception, operator intervention, insufficient resources, system error (of the disk, say)
AWAY = {"08", "57", "53", "58"}
# What a server says that has others in the way for too long, or that ended a worker's idle transaction.
NOT_NOW = {"40001", "40P01", "55P03", "25P03"}
QUERY_CANCELED = "57014"  # it took longer than a statement may
CANNOT_CONNECT_NOW = "57P03"  # the server is starting up, or shutting down


class Database:
    """One PostgreSQL database.

    `name` is the database's name, `secret_name` the secret that holds its `url`. Its tables register in `metadata`.
    """

    def __init__(self, name: str, secret_name: str) -> None:
        self.name = name
        self.secret_name = secret_name
        self.metadata = MetaData()
        self.outbox = bookkeeping.outbox(self.metadata)
        self.inbox = bookkeeping.inbox(self.metadata)
        self.idempotency_keys = bookkeeping.idempotency_keys(self.metadata)
        self.request_counts = bookkeeping.request_counts(self.metadata)
        self.audit = bookkeeping.audit(self.metadata)

    @cached_property
    def engine(self) -> Engine:
        """The engine, over one connection. The socket's timeout is longer than the server's statement timeout (5 s)."""
        return self._engine(ANSWER_SECONDS, pool_size=1, max_overflow=0, pool_timeout=3)

    @cached_property
    def snapshot_engine(self) -> Engine:
        """The engine of snapshots, which keeps no connection; but what SQLAlchemy asks of a server the first time, it
        asks once."""
        return self._engine(LONGEST_READ_SECONDS + 5, poolclass=NullPool)

    def _engine(self, timeout: float, **pool: Any) -> Engine:
        """An engine whose sockets wait so many seconds for an answer."""
        url = self._url
        own = {"tcp_keepalive": True, "application_name": "itlc", "ssl_context": _tls(url)}
        engine = create_engine(url.difference_update_query(["sslmode"]), connect_args=own, **pool)

        def connect(dialect: Dialect, _: object, arguments: Any, named: Any) -> Any:
            return _connect(dialect, arguments, named, timeout)

        on.listen(engine, "do_connect", connect)
        on.listen(engine, "handle_error", _as_lost)
        engine.dialect.reset_isolation_level = _leave_autocommit  # type: ignore[assignment, method-assign]
        return engine

    @property
    def _url(self) -> URL:
        return make_url(secret(self.secret_name)["url"]).set(drivername="postgresql+pg8000")

    @cached_property
    def circuit(self) -> Circuit:
        """The circuit of this database's server."""
        return circuit(f"{self._url.host}:{self._url.port}", is_down)

    def ping(self) -> None:
        """Ask the least that proves that the database answers, whether its circuit is open or not. Raises StoreAway."""
        with self._translated(probe=True), self._live() as connection:
            connection.exec_driver_sql("SELECT 1")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in AUTOCOMMIT, so that a read costs its own round trip and no other.

        Raises StoreAway when the database cannot be reached.
        """
        with self._translated(), self._live().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.info["database"] = self
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection of its own that sees the database as it is at its first query and can change nothing (one
        REPEATABLE READ, READ ONLY transaction), with time to read through all of it.

        Raises StoreAway when the database cannot be reached.
        """
        with self._translated(), self.snapshot_engine.connect() as connection:
            connection.info["database"] = self
            for statement in (WHOLE, *LIMITS_OF_A_SNAPSHOT):
                connection.exec_driver_sql(statement)
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one READ COMMITTED transaction and commit it; whatever it raises rolls back.

        Events that `work` emitted are sent right after the commit; what cannot be sent waits for the relay.
        The whole of `work` runs again after a serialization failure or a deadlock, and once after a connection that
        turns out dead before the commit (but not after one that gave no answer in time); so `work` does nothing but
        talk to this database. Raises StoreAway when the database cannot be reached or keeps refusing.
        """
        with self._translated():
            result, emitted = self._commit(work)
        events.send_now(emitted, self._mark_published)
        return result

    def _commit(self, work: Callable[[Connection], T]) -> tuple[T, list[events.Event]]:
        """What `work` returned, and the events that it emitted, in the transaction that could be committed at last."""
        replaced = False
        for attempt in range(1, TRIES + 1):
            committing = False
            connection = self._live()
            try:
                with connection:
                    connection.info["database"] = self
                    transaction = connection.begin()
                    emitted: list[events.Event] = []
                    connection.info["emitted"] = emitted
                    result = work(connection)
                    committing = True
                    transaction.commit()
                return result, emitted
            except DBAPIError as error:
                dead = error.connection_invalidated and not (committing or replaced or timed_out(error))
                if attempt == TRIES or not (dead or sqlstate(error) in (SERIALIZATION_FAILURE, DEADLOCK)):
                    raise
                replaced = replaced or dead
                if not dead:  # capped and jittered: those who clashed should not meet again
                    time.sleep(random.uniform(0, min(0.2, 0.01 * 2**attempt)))  # noqa: S311
        raise AssertionError("unreachable: the last attempt returns or raises")

    def count_request(self, subject: str, window: Window) -> int:
        """See `itlc.limits.Counter`. One statement that commits by itself."""
        with self.read() as connection:
            return request_counts.count(connection, subject, window)

    def earlier_answer(self, key: Key) -> Answer | None:
        """See `itlc.idempotency.Store`."""
        with self.read() as connection:
            return keys.find(connection, key)

    def claim(self, handle: Connection, key: Key, answer: Callable[[object], Answer]) -> Answer | None:
        """See `itlc.idempotency.Store`."""
        return keys.claim(handle, key)

    def keep(self, handle: Connection, key: Key, answer: Answer) -> None:
        """See `itlc.idempotency.Store`."""
        keys.keep(handle, key, answer)

    def keep_refusal(self, key: Key, answer: Answer) -> None:
        """See `itlc.idempotency.Store`."""
        self.write(lambda connection: keys.keep_refusal(connection, key, answer))

    def _mark_published(self, ids: set[str]) -> None:
        with self.read() as connection:
            outbox.mark_published(connection, ids)

    def _live(self) -> Connection:
        """A connection from the pool; one that the server has closed, or that has been idle for a while and does not
        answer quickly, is replaced."""
        connection = self.engine.connect()
        if connection.info and (_closed_by_server(connection) or not _answers(connection)):
            connection.invalidate()
            connection.close()
            connection = self.engine.connect()
        connection.info["used_at"] = time.monotonic()
        return connection

    @contextmanager
    def _translated(self, *, probe: bool = False) -> Iterator[None]:
        try:
            with self.circuit.guard(self.name, probe=probe):
                yield
        except PoolTimeoutError as error:
            raise StoreAway(self.name) from error
        except DBAPIError as error:
            if is_away(error):
                raise StoreAway(self.name) from error
            raise


def _connect(dialect: Dialect, arguments: Any, named: Any, timeout: float) -> Any:
    """A new connection of the driver's, made quickly or not at all, whose answers are then waited for a bit longer."""
    try:
        connection = dialect.connect(*arguments, **named, timeout=CONNECT_SECONDS)
    except (OSError, dialect.loaded_dbapi.InterfaceError) as error:
        # Both: pg8000 lets errors of the socket through where it waits for the first byte of an answer.
        raise dialect.loaded_dbapi.InterfaceError(f"no connection: {error}") from error
    connection._usock.settimeout(timeout)
    return connection


def _as_lost(context: ExceptionContext) -> Exception | None:
    """An error of the socket as SQLAlchemy's, with the connection given up: pg8000 lets it through as it is."""
    error = context.original_exception
    if not isinstance(error, OSError):
        return None
    context.is_disconnect = True
    return OperationalError(context.statement, None, error, connection_invalidated=True)


def _leave_autocommit(connection: Any) -> None:
    """What `read` set is undone in the driver alone. SQLAlchemy would ask the server for READ COMMITTED, which it never
    left: three round trips for each read, and an error that nobody translates where the server died after it."""
    connection.autocommit = False


def _closed_by_server(connection: Connection) -> bool:
    """Whether there is something to read where nothing was asked: the server's farewell. Costs no round trip."""
    socket = getattr(connection.connection.dbapi_connection, "_usock", None)
    if socket is None:
        return False
    poll = select.poll()
    poll.register(socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _answers(connection: Connection) -> bool:
    """Whether a connection that was idle for as long as a circuit is open still answers, quickly; a busy one
    has just proved itself."""
    if time.monotonic() - connection.info.get("used_at", 0.0) < settings().circuit_seconds:
        return True
    socket = getattr(connection.connection.dbapi_connection, "_usock", None)
    if socket is None:
        return False
    patience = socket.gettimeout()
    try:
        socket.settimeout(CONNECT_SECONDS)
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()
        socket.settimeout(patience)
    except DBAPIError:
        return False
    return True


def _tls(url: URL) -> ssl.SSLContext | bool:
    """What the driver needs for the URL's `sslmode`, with libpq's meaning: False, no encryption, without one or with
    `disable`; `require` encrypts, `verify-full` checks the server's certificate as well. Raises ValueError for any
    other."""
    match url.query.get("sslmode"):
        case None | "disable":
            return False  # with None the driver would ask for encryption, and load all certificates to be ready for it
        case "require":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        case "verify-full":
            return ssl.create_default_context()
        case other:
            raise ValueError(f"sslmode={other}: must be disable, require or verify-full")


def sqlstate(error: DBAPIError) -> str:
    """The five-character SQLSTATE of a database error, or an empty string where the server gave none."""
    arguments = getattr(error.orig, "args", ())
    fields = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    return str(fields.get("C", ""))


def constraint(error: DBAPIError) -> str:
    """The name of the constraint that an IntegrityError broke, or an empty string."""
    arguments = getattr(error.orig, "args", ())
    fields = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    return str(fields.get("n", ""))


def is_away(error: DBAPIError) -> bool:
    """Whether the database could not be reached or could not serve, as opposed to refusing what was asked."""
    state = sqlstate(error)
    if state:
        return state[:2] in AWAY or state in NOT_NOW
    return (
        error.connection_invalidated or isinstance(error, OperationalError) or "InterfaceError" in type(error).__name__
    )


def timed_out(error: DBAPIError) -> bool:
    """Whether the database gave no answer in time, as opposed to an error."""
    cause: BaseException | None = error.orig
    while cause is not None and not isinstance(cause, TimeoutError):
        cause = cause.__cause__
    return cause is not None


def is_down(error: Exception) -> bool:
    """Whether the database's server cannot be reached, does not answer or does not serve, and whoever asks it next
    would wait in vain. A connection that broke is not enough: that it can be replaced is soon seen."""
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate(error)
    if state:
        return state == CANNOT_CONNECT_NOW
    return timed_out(error) or (is_away(error) and not error.connection_invalidated)


users = Database("itlc_users", "users")
catalog = Database("itlc_api", "api")
orders = Database("itlc_orders", "orders")
tokens = Database("itlc_tokens", "tokens")
templates = Database("itlc_templates", "templates")

DATABASES = (users, catalog, orders, tokens, templates)
