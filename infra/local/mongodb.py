"""The MongoDB server of the stack: starts and watches the process that `infra.local.mongo_server` is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from infra.local import jars
from infra.local.server import Record, Server

DATABASE = "itlc_pbfr"
ROOT = Path(__file__).resolve().parents[2]


class Mongodb(Server):
    """The embedded MongoDB server. `paths` are its jars."""

    name: ClassVar[str] = "mongodb"
    title: ClassVar[str] = "MongoDB server"

    def __init__(
        self,
        state_dir: Path,
        record: Record,
        save: Callable[[], None],
        *,
        durable: bool,
        paths: list[Path] | None = None,
    ) -> None:
        super().__init__(state_dir, record, save, durable=durable)
        self.paths = paths or []

    def prepare(self) -> None:
        """Nothing: the server makes its file."""

    def environment(self, port: int) -> dict[str, str]:
        # The process starts in its data folder, from where `infra` could not be imported if it was not installed.
        return {**super().environment(port), "PYTHONPATH": str(ROOT)}

    def command(self, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "infra.local.mongo_server", "--port", str(port)),
            *("--data", str(self.data), "--classpath", jars.classpath(self.paths)),
        ]

    def answers(self, port: int) -> bool:
        from pymongo.errors import PyMongoError

        try:
            ping(f"mongodb://127.0.0.1:{port}/")
        except PyMongoError:
            return False
        return True

    @property
    def url(self) -> str:
        """The address for drivers, with the database's name."""
        return f"mongodb://127.0.0.1:{self.port}/{DATABASE}"


def ping(url: str) -> None:
    """Ask the server at `url` whether it is there. Raises PyMongoError when it does not answer within 5 seconds."""
    import pymongo

    with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=5000) as client:
        client.admin.command("ping")
