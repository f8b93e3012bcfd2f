"""The jars: fetched from a mirror, checked by hash, healed when damaged. The mirror is a small one on loopback."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local import jars, process
from infra.local.failure import StackError

NAME = "org.example:ship:1.0"
CLASSIFIED = "org.example:ship:1.0:linux-x86_64"
CONTENTS = {NAME: b"the jar", CLASSIFIED: b"the native jar"}


def place(folder: Path, name: str) -> Path:
    """Where the jar `name` lies in the repository `folder`."""
    suffix = "-linux-x86_64" if name == CLASSIFIED else ""
    return folder / "org" / "example" / "ship" / "1.0" / f"ship-1.0{suffix}.jar"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of two jars, with empty caches."""
    monkeypatch.setenv("M2_REPO", str(tmp_path / "repository"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lock = tmp_path / "ship.jars.lock"
    lock.write_text("".join(f"{name} {hashlib.sha256(body).hexdigest()}\n" for name, body in CONTENTS.items()))
    return lock


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a mirror that has both jars."""
    folder = tmp_path / "mirror"
    for name, body in CONTENTS.items():
        place(folder, name).parent.mkdir(parents=True, exist_ok=True)
        place(folder, name).write_bytes(body)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("ITLC_MAVEN_URL", f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a mirror that is away."""
    address = f"http://127.0.0.1:{process.free_port()}"
    monkeypatch.setenv("ITLC_MAVEN_URL", address)
    return address


def fetch(lock: Path, lines: list[str] | None = None) -> list[Path]:
    return jars.fetch([lock], (lines if lines is not None else []).append)[lock]


def test_jars_are_fetched_once(lock: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    paths = fetch(lock, lines)
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert paths == [place(jars.repository(), name) for name in CONTENTS]
    assert any("2 of 2" in line for line in lines)
    assert list(jars.repository().iterdir()) == [jars.repository() / "org"], "nothing of the way is left"

    monkeypatch.setenv("ITLC_MAVEN_URL", f"http://127.0.0.1:{process.free_port()}")
    again: list[str] = []
    assert fetch(lock, again) == paths
    assert again == []


def test_a_damaged_jar_is_found_and_fetched_again(lock: Path, mirror: Path) -> None:
    damaged = fetch(lock)[1]
    damaged.write_bytes(b"the native jaR")
    assert fetch(lock)[1].read_bytes() == CONTENTS[CLASSIFIED]


def test_without_a_network_the_failure_names_the_jar(lock: Path, no_mirror: str) -> None:
    with pytest.raises(StackError) as failure:
        fetch(lock)
    assert failure.value.part == "jars"
    assert NAME in failure.value.why
    for hint in ("network", "ITLC_MAVEN_URL", no_mirror):
        assert hint in failure.value.what_to_do


def test_another_jar_than_the_locked_one_is_refused(lock: Path, mirror: Path) -> None:
    place(mirror, CLASSIFIED).write_bytes(b"something else")
    with pytest.raises(StackError, match=f"{CLASSIFIED} has sha256"):
        fetch(lock)
    assert not place(jars.repository(), CLASSIFIED).exists()


def test_a_jar_that_the_mirror_has_not_is_named(lock: Path, mirror: Path) -> None:
    place(mirror, NAME).unlink()
    with pytest.raises(StackError, match=f"{NAME} cannot be fetched"):
        fetch(lock)


def test_a_lock_that_cannot_be_read_names_its_line(tmp_path: Path) -> None:
    lock = tmp_path / "bad.lock"
    lock.write_text(f"{NAME} {'0' * 64}\nnonsense\n")
    with pytest.raises(StackError, match=r"bad\.lock:2 .*nonsense"):
        jars.read_lock(lock)


@pytest.mark.parametrize(("server", "count"), [("neo4j", 225), ("mongodb", 18)])
def test_the_locks_of_the_servers_can_be_read(server: str, count: int) -> None:
    assert len(jars.read_lock(jars.LOCKS[server])) == count
