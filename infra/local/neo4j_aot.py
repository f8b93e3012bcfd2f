"""Make the JVM's ahead-of-time cache for Neo4j: `python -m infra.local.neo4j_aot --state-dir DIR`.

Starts a Neo4j of its own on empty data, waits until it answers, and ends it; the JVM then writes down what it has
loaded. The next starts on this machine, of whatever stack, take half the time. Runs in the background at the lowest
priority; everything that it starts stays in its own session, so that `itlc down` finds it.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infra.local import jars, neo4j, process
from infra.local.server import Record

SECONDS_TO_START = 180
SECONDS_TO_WRITE = 300
KEPT = 3  # caches, of 140 MB each: other checkouts have theirs in the same folder


def make(state_dir: Path) -> Path:
    """Make the cache, working in a temporary folder below `state_dir`, and give its path.

    Raises RuntimeError when Neo4j does not start, ends early or writes no cache.
    """
    paths = jars.fetch([jars.LOCKS["neo4j"]], print)[jars.LOCKS["neo4j"]]
    cache = neo4j.aot_cache(paths)
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(f".{os.getpid()}.part")
    with tempfile.TemporaryDirectory(prefix="neo4j-aot-", dir=state_dir) as folder:
        server = neo4j.Neo4j(Path(folder), Record(), lambda: None, durable=False, paths=paths, aot_output=part)
        server.data.mkdir(parents=True)
        server.prepare()
        port = process.free_port()
        child = subprocess.Popen(
            server.command(port),
            stdin=subprocess.DEVNULL,
            cwd=server.data,
            env={**os.environ, **server.environment(port)},
        )
        try:
            _wait_until_ready(server, port, child)
            child.terminate()
            child.wait(SECONDS_TO_WRITE)
            if not part.exists():
                raise RuntimeError(f"Java wrote no cache (it ended with {child.returncode})")
            part.replace(cache)
        finally:
            child.kill()
            child.wait()
            part.unlink(missing_ok=True)
    by_age = sorted(cache.parent.glob("neo4j-*.aot"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in by_age[KEPT:]:
        old.unlink(missing_ok=True)
    return cache


def _wait_until_ready(server: neo4j.Neo4j, port: int, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not (process.listening(port) and server.answers(port)):
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("Neo4j did not start")
        time.sleep(0.2)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="Make the ahead-of-time cache with which Neo4j starts faster.")
    parser.add_argument("--state-dir", type=Path, required=True, help="where to work, in a temporary folder")
    state_dir: Path = parser.parse_args().state_dir
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(19)
    began = time.monotonic()
    cache = make(state_dir)
    print(f"{cache}: {cache.stat().st_size / 1e6:.0f} MB, made in {time.monotonic() - began:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
