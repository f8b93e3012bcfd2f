"""Processes that outlive the command that starts them: started, found again, ended by the id recorded at their start.

A process id alone may have been given to another program meanwhile, so the time of its start is recorded beside it.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
# Below the range that systems hand out to outgoing connections, so that nothing takes a port while a server restarts.
PORTS = range(15_000, 32_000)
MARK = "ITLC_STACK"
START_TOLERANCE = 1.0

# The processes that this very process started: they must be polled, or they stay as zombies when they end.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class ProcessId:
    """A process: its id and the time of its start, in seconds since 1970."""

    pid: int
    started: float


def launch(
    command: list[str], *, log: Path, environment: dict[str, str], mark: str, folder: Path, user: int | None = None
) -> ProcessId:
    """Start `command` in a session of its own, with `environment` and nothing else, its output appended to `log`.

    `mark` goes into its environment, and so into that of all its children. `user` is the id to run as, where this
    process is root. Raises OSError when the command cannot be run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, MARK: mark},
            cwd=folder,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    _children[child.pid] = child
    return ProcessId(child.pid, psutil.Process(child.pid).create_time())


def alive(process: ProcessId | None) -> bool:
    """Whether `process` still runs (a zombie does not)."""
    if process is None:
        return False
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        del _children[process.pid]
        return False
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < START_TOLERANCE
        return same and bool(found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: ProcessId | None, *, mark: str, by: signal.Signals = signal.SIGTERM, patience: float = 20.0) -> bool:
    """End `process` with the signal `by`, and by SIGKILL after `patience` seconds; then what is left of its session.

    Gives whether it ended by itself. Of its session, only processes whose environment carries `mark` are touched.
    """
    if process is None:
        return True
    clean = True
    if alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, by)
        clean = wait_for_end(process, patience)
        if not clean:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            wait_for_end(process, patience)
    for orphan in session_of(process, mark=mark):
        with suppress(psutil.NoSuchProcess):
            found = ProcessId(orphan.pid, orphan.create_time())
            orphan.kill()
            wait_for_end(found, patience)
    return clean


def session_of(process: ProcessId, *, mark: str) -> list[psutil.Process]:
    """The running processes, without itself, in the session that `process` leads or led, if they carry `mark`."""
    found = []
    for other in psutil.process_iter():
        if other.pid == process.pid:
            continue
        with suppress(psutil.Error, OSError):
            if (
                os.getsid(other.pid) == process.pid
                and other.status() != psutil.STATUS_ZOMBIE
                and other.environ().get(MARK) == mark
            ):
                found.append(other)
    return found


def wait_for_end(process: ProcessId, seconds: float) -> bool:
    """Whether `process` ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def free_port(wish: int | None = None) -> int:
    """A port of the loopback interface that nobody listens on: `wish` if that is free, else any.

    A server that was killed may hold its port for a moment longer; `wish` is waited for, up to five seconds, for others
    have noted it."""
    deadline = time.monotonic() + 5
    while wish is not None and time.monotonic() < deadline:
        if _free(wish):
            return wish
        time.sleep(0.1)
    for port in secrets.SystemRandom().sample(PORTS, 100):
        if _free(port):
            return port
    raise OSError(f"none of 100 ports tried between {PORTS.start} and {PORTS.stop} is free on {LOOPBACK}")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # A port whose last connections are only fading away is free for a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listening(port: int) -> bool:
    """Whether something accepts connections on `port` of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def base_environment() -> dict[str, str]:
    """What a server gets to see of this process's environment: where programs are, and nothing that configures one."""
    kept = ("PATH", "HOME", "USER", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {"LANG": "C.UTF-8", "TZ": "UTC", **{name: os.environ[name] for name in kept if name in os.environ}}
