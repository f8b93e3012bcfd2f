"""What the four embedded servers have in common: a folder, a log, a port, and a process that is kept running."""

import os
import re
import secrets
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from infra.local import process
from infra.local.failure import StackError
from infra.local.process import ProcessId

Say = Callable[[str], None]

POLL_SECONDS = 0.05
RETRY_SECONDS = 0.3
# What servers say when the one before them has not quite gone, or when somebody else was quicker to take the port.
PASSING = re.compile(
    r"already in use|still in use|already running|another (server|postmaster)|BindException|lock file", re.IGNORECASE
)


@dataclass
class Record:
    """What is remembered of a server between commands: its port, its process, its passwords by user."""

    port: int | None = None
    process: ProcessId | None = None
    passwords: dict[str, str] = field(default_factory=dict)

    def password(self, user: str) -> str:
        """The password of `user`: the one that it has, or a new random one."""
        return self.passwords.setdefault(user, secrets.token_urlsafe(24))

    def as_json(self) -> dict[str, Any]:
        """The record as `from_json` reads it."""
        where = None if self.process is None else [self.process.pid, self.process.started]
        return {"port": self.port, "process": where, "passwords": self.passwords}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Record":
        """The record that `as_json` wrote."""
        return cls(data["port"], data["process"] and ProcessId(*data["process"]), data["passwords"])


class Server(ABC):
    """One server of the stack.

    `state_dir` holds its data and its log, `record` is what is remembered of it, `save` writes the records to disk.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    patience: ClassVar[float] = 60.0
    """Seconds that it may take to start."""

    def __init__(self, state_dir: Path, record: Record, save: Callable[[], None], *, durable: bool) -> None:
        self.state_dir, self.record, self.save, self.durable = state_dir, record, save, durable
        self.data = state_dir / "data" / self.name
        self.log = state_dir / "logs" / f"{self.name}.log"

    @abstractmethod
    def prepare(self) -> None:
        """Lay down what the server needs before it starts. Called before each start; the first finds no data."""

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """The program and its arguments that serve on `port`."""

    @abstractmethod
    def answers(self, port: int) -> bool:
        """Whether the server on `port` is ours and ready to work; False while it is not yet."""

    def environment(self, port: int) -> dict[str, str]:
        """The whole environment of the process."""
        return process.base_environment()

    def user(self) -> int | None:
        """The user id to run it as, where that is another than the present one."""
        return None

    @property
    def mark(self) -> str:
        """What the processes of this stack carry in their environment."""
        return str(self.state_dir)

    @property
    def port(self) -> int:
        """The port that it serves on. Only to be asked for after a start."""
        if self.record.port is None:
            raise StackError(self.name, "it has never been started", what_to_do="start it with `itlc up`")
        return self.record.port

    def running(self) -> bool:
        """Whether its recorded process runs and answers."""
        return process.alive(self.record.process) and self.record.port is not None and self._ready(self.record.port)

    def up(self, say: Say) -> None:
        """Start it unless it runs. Raises StackError when it cannot be started within `patience` seconds."""
        if process.alive(self.record.process) and self.record.port is not None:
            # It may be on its way up still: an earlier command was cut off while it waited.
            if self._wait(self.record.port, seconds=15):
                return
            say(f"{self.title}: runs but does not answer; starting it anew")
        began = time.monotonic()
        process.end(self.record.process, mark=self.mark, by=self.stop_signal, patience=10)
        self.record.process = None
        self.data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.prepare()
        deadline = began + self.patience
        while True:
            port = self.record.port = process.free_port(self.record.port)
            start_of_log = self.log.stat().st_size if self.log.exists() else 0
            self._launch(port)
            if self._wait(port, seconds=deadline - time.monotonic()):
                break
            died = not process.alive(self.record.process)
            if died and time.monotonic() < deadline and self._passing(start_of_log):
                time.sleep(RETRY_SECONDS)
                continue
            self.down()
            raise StackError(
                self.name,
                f"{self.title} ended while starting" if died else f"{self.title} did not answer on port {port} in time",
                log=self.log,
                what_to_do="read the log's last lines; `itlc up` tries again and keeps the data, "
                "`itlc down --clean` deletes the data",
            )
        say(f"{self.title}: ready on port {port} ({time.monotonic() - began:.1f} s)")

    def down(self) -> bool:
        """End it. Gives whether it ended by itself when asked to."""
        clean = process.end(self.record.process, mark=self.mark, by=self.stop_signal)
        self.record.process = None
        self.save()
        return clean

    def fail(self, why: str, what_to_do: str) -> StackError:
        """The error that says `why` this server failed."""
        return StackError(self.name, why, log=self.log if self.log.exists() else None, what_to_do=what_to_do)

    def _launch(self, port: int) -> None:
        command = self.command(port)
        try:
            self.record.process = process.launch(
                command,
                log=self.log,
                environment=self.environment(port),
                mark=self.mark,
                folder=Path("/") if self.user() is not None else self.data,
                user=self.user(),
            )
        except OSError as error:
            raise self.fail(f"{command[0]} cannot be run: {error}", "remove .venv, then `make up`") from error
        # At once, so that a command that is cut off now leaves nothing behind that the next one does not know of.
        self.save()

    def _wait(self, port: int, *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not process.alive(self.record.process):
                return False
            if self._ready(port):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _ready(self, port: int) -> bool:
        # The port first: drivers that find it closed back off for seconds.
        return process.listening(port) and self.answers(port)

    def _passing(self, start_of_log: int) -> bool:
        with self.log.open("rb") as file:
            file.seek(start_of_log, os.SEEK_SET)
            return PASSING.search(file.read().decode("utf-8", "replace")) is not None
