"""The script and style of the docs page: Swagger UI (Apache-2.0), out of its WebJar, which comes from Maven Central by
a lock as the servers' jars do. They lie beside the page that they are written into, and are not kept in git."""

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from infra.local import jars
from infra.local.reach import ROOT

LOCK = Path(__file__).with_name("docs.jars.lock")
FOLDER = ROOT / "functions" / "system" / "assets"
WANTED = re.compile(
    r"META-INF/resources/webjars/swagger-ui/[^/]+/(swagger-ui\.css|swagger-ui-bundle\.js(\.LICENSE\.txt)?)"
)


def lay_out(say: Callable[[str], None]) -> None:
    """Put the files of the locked version where the docs page looks for them, unless they are there. `say` is called
    with a line when something is fetched. Raises StackError when it cannot be had."""
    (jar,) = jars.read_lock(LOCK)
    note = FOLDER / "VERSION"
    if note.is_file() and note.read_text(encoding="utf-8") == jar.name:
        return
    (path,) = jars.fetch([LOCK], say)[LOCK]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if match := WANTED.fullmatch(name):
                _write(FOLDER / match.group(1), archive.read(name))
    _write(note, jar.name.encode())


def _write(path: Path, content: bytes) -> None:
    """Write at once or not at all: another command may be reading it."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)
