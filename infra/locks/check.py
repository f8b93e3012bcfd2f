"""Check the locks: `python infra/locks/check.py`.

Every package of pyproject.toml is locked, at a version that it allows; every line has its hashes; no line holds an
address. Ends with 1 after naming what is wrong.
"""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {
    "infra/locks/dev.lock": ("local", "dev"),
    "infra/locks/local.lock": ("local",),
    "layers/vendor/requirements.txt": (),
}
JAR_LOCKS = ("infra/local/neo4j.jars.lock", "infra/local/mongodb.jars.lock")
ADDRESS = re.compile(r"[a-z]+://|--(index|extra-index|find-links|trusted-host)|^-[if] ", re.MULTILINE)
PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;]+)[^\n\\]*"
    r"(?P<hashes>(\\\n +--hash=sha256:[0-9a-f]{64} ?)*)$",
    re.MULTILINE,
)
JAR = re.compile(r"^[^:\s]+:[^:\s]+:[^:\s]+(:[^:\s]+)? [0-9a-f]{64}$")


def problems_of_lock(name: str, text: str, wanted: list[Requirement]) -> list[str]:
    """What is wrong with the lock `name` with the content `text`, which must hold the packages `wanted`."""
    problems = []
    versions = {}
    for match in PINNED.finditer(text):
        versions[canonicalize_name(match["name"])] = match["version"]
        if not match["hashes"]:
            problems.append(f"{name}: {match['name']} has no hash")
    entries = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "#"))]
    if len(entries) != len(PINNED.findall(text)):
        problems.append(f"{name}: a line is not `package==version` with its hashes")
    for requirement in wanted:
        version = versions.get(canonicalize_name(requirement.name))
        if version is None:
            problems.append(f"{name}: {requirement.name}, which pyproject.toml asks for, is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{name}: {requirement.name} is {version}, pyproject.toml asks for {requirement.specifier}")
    return problems


def problems() -> list[str]:
    """What is wrong with the locks of this repository, each in one line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for name, extras in LOCKS.items():
        texts = [
            *project["dependencies"],
            *(text for extra in extras for text in project["optional-dependencies"][extra]),
        ]
        lock = (ROOT / name).read_text(encoding="utf-8")
        found += problems_of_lock(name, lock, [Requirement(text) for text in texts])
    for name in JAR_LOCKS:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        found += [f"{name}:{number}: no jar and hash" for number, line in enumerate(lines, 1) if not JAR.match(line)]
    for name in (*LOCKS, *JAR_LOCKS):
        if ADDRESS.search((ROOT / name).read_text(encoding="utf-8")):
            found.append(f"{name}: holds an address; whoever installs chooses the registry")
    return found


if __name__ == "__main__":
    for problem in (wrong := problems()):
        print(problem, file=sys.stderr)  # noqa: T201
    if wrong:
        print("renew them with `make lock`", file=sys.stderr)  # noqa: T201
    sys.exit(1 if wrong else 0)
