"""The jars of the embedded servers: fetched once into the Maven cache, checked against a lock each time.

A lock is a text file with a line `group:artifact:version[:classifier] sha256` for each jar. The jars live where Maven
keeps them too (`M2_REPO`, else `~/.m2/repository`), so a cache that Maven filled serves here, and the other way round.
`ITLC_MAVEN_URL` names a mirror to fetch from.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.failure import StackError

Say = Callable[[str], None]

LOCKS = {
    "neo4j": Path(__file__).with_name("neo4j.jars.lock"),
    "mongodb": Path(__file__).with_name("mongodb.jars.lock"),
}
THREADS = 8
TRIES = 3
SECONDS_PER_REQUEST = 30


@dataclass(frozen=True)
class Jar:
    """One jar of a lock, by its Maven coordinates, and the sha256 that it must have."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def name(self) -> str:
        """The coordinates as the lock writes them."""
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))

    @property
    def path(self) -> Path:
        """Where the jar lies, relative to a Maven repository."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}{suffix}.jar"


def read_lock(lock: Path) -> list[Jar]:
    """The jars that the file `lock` lists, in its order. Raises StackError naming the line that cannot be read."""
    jars = []
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, sha256 = line.partition(" ")
        parts = name.split(":")
        if len(parts) not in (3, 4) or len(sha256) != 64:
            raise StackError(
                "jars",
                f"{lock.name}:{number} is not `group:artifact:version[:classifier] sha256`: {line!r}",
                what_to_do="renew the lock with infra/locks/renew-jars.sh",
            )
        group, artifact, version, classifier = (*parts, "")[:4]
        jars.append(Jar(group, artifact, version, classifier, sha256))
    return jars


def repository() -> Path:
    """The folder that the jars are kept in."""
    return Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")


def cache_dir() -> Path:
    """The user's cache folder of this project, which `make clean` leaves alone."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "itlc"


def fetch(locks: Iterable[Path], say: Say) -> dict[Path, list[Path]]:
    """Make sure that every jar of `locks` is there and is what its lock says.

    Jars that are missing or damaged are fetched, eight at a time, with a progress bar on a terminal and a line through
    `say` every tenth of the way elsewhere. Gives the paths of each lock's jars, in the lock's order. Raises StackError
    naming the jar that cannot be had or has another content than its lock says.
    """
    wanted = {lock: read_lock(lock) for lock in locks}
    every = list({jar.path: jar for jars in wanted.values() for jar in jars}.values())
    verified = _Verified()
    with ThreadPoolExecutor(THREADS) as pool:
        intact = list(pool.map(verified.check, every))
    missing = [jar for jar, good in zip(every, intact, strict=True) if not good]
    if missing:
        _fetch(missing, verified, say)
    verified.save()
    return {lock: [repository() / jar.path for jar in jars] for lock, jars in wanted.items()}


def classpath(paths: Iterable[Path]) -> str:
    """`paths` as a Java class path."""
    return os.pathsep.join(map(str, paths))


class _Verified:
    """Which jars were found good before, by size and time of change, so that they need not be hashed at each start."""

    def __init__(self) -> None:
        self._file = cache_dir() / "verified-jars.json"
        self._root = repository()
        self._stamps: dict[str, list[int | str]] = {}
        self._changed = False
        with suppress(OSError, ValueError):
            self._stamps = json.loads(self._file.read_text(encoding="utf-8"))

    def check(self, jar: Jar) -> bool:
        """Whether `jar` is in the cache with the content that its lock asks for."""
        path = self._root / jar.path
        try:
            found = path.stat()
        except OSError:
            return False
        stamp: list[int | str] = [found.st_size, found.st_mtime_ns, jar.sha256]
        if self._stamps.get(str(path)) == stamp:
            return True
        with path.open("rb") as file:
            good = hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
        if good:
            self._stamps[str(path)] = stamp
            self._changed = True
        return good

    def save(self) -> None:
        """Remember what was verified. A cache folder that cannot be written costs only the hashing next time."""
        if not self._changed:
            return
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            new.write_text(json.dumps(self._stamps), encoding="utf-8")
            new.replace(self._file)


def _fetch(jars: list[Jar], verified: _Verified, say: Say) -> None:
    root = repository()
    try:
        root.mkdir(parents=True, exist_ok=True)
        # jgo writes straight to its cache: a cache of its own, on the same disk, keeps half a jar out of Maven's.
        staging = tempfile.TemporaryDirectory(prefix=".itlc-", dir=root)
    except OSError as error:
        raise StackError(
            "jars", f"{root} cannot be written: {error}", what_to_do="set M2_REPO to a folder that you may write to"
        ) from error
    with staging as folder, _progress(len(jars), say) as advance, ThreadPoolExecutor(THREADS) as pool:
        work = [pool.submit(_fetch_one, jar, Path(folder), verified) for jar in jars]
        try:
            for done in as_completed(work):
                done.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(jar: Jar, staging: Path, verified: _Verified) -> None:
    import requests
    from jgo.maven import MavenContext

    mirror = os.environ.get("ITLC_MAVEN_URL", "").rstrip("/")
    context = MavenContext(
        repo_cache=staging, timeout=SECONDS_PER_REQUEST, remote_repos={"central": mirror} if mirror else None
    )
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier, "jar")
    for tries_left in reversed(range(TRIES)):
        try:
            path = artifact.resolve()
            break
        except (requests.RequestException, RuntimeError, OSError) as error:
            (staging / jar.path).unlink(missing_ok=True)
            # RuntimeError is jgo's "not found": trying again would not help.
            if tries_left == 0 or isinstance(error, RuntimeError):
                raise StackError(
                    "jars",
                    f"{jar.name} cannot be fetched: {error}",
                    what_to_do="check the network and run it again (what has been fetched is kept); behind a mirror "
                    "of Maven Central, set ITLC_MAVEN_URL to its address"
                    + (f" (it is {mirror} now)" if mirror else ""),
                ) from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise StackError(
            "jars",
            f"{jar.name} has sha256 {found}, the lock says {jar.sha256}",
            what_to_do="do not use it: the place that it came from"
            + (f" ({mirror})" if mirror else "")
            + " serves another file than the one that was locked",
        )
    home = repository() / jar.path
    home.parent.mkdir(parents=True, exist_ok=True)
    path.replace(home)
    verified.check(jar)


@contextmanager
def _progress(total: int, say: Say) -> Iterator[Callable[[], None]]:
    """Gives what to call after each of `total` jars."""
    title = f"fetching {total} jars from Maven Central (once)"
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda: bar.advance(task)
        return

    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done * 10 // total > (done - 1) * 10 // total:
            say(f"jars: {done} of {total} fetched")

    say(title)
    yield advance
