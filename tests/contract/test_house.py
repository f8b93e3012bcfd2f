"""The house's rules: where code lies, how it is called, what may import what."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.operations import FUNCTIONS, Found, load_operations
from infra.local.reach import CORE, ROOT, STORES, imports_of

PACKAGE = CORE / "itlc"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *FUNCTIONS.rglob("*.py"), *(ROOT / "infra").rglob("*.py")])
OPERATIONS = sorted(FUNCTIONS.glob("*/*.py"))
DRIVERS = {"itlc.stores.mongo": "pymongo", "itlc.stores.neo4j": "neo4j"}
MOST_LINES = 45
# What does I/O: a domain's rules (model.py) know nothing of it.
DOES_IO = {"sqlalchemy", "pymongo", "neo4j", "boto3", "chalice", "httpx", "itlc.operation", "itlc.aws", *STORES}

# The exceptions, for one transaction has to change both: a user's balance is a projection of the ledger, and an order's
# state changes with its payment's.
ALLOWED = {
    ("wallet/repository.py", "itlc.accounts.tables"),
    ("wallet/payments.py", "itlc.orders.repository"),
    ("wallet/refunds.py", "itlc.orders.repository"),
}


@pytest.fixture(scope="module")
def operations() -> list[Found]:
    return load_operations()


def name_of(path: Path) -> str:
    """A file's module name."""
    base = CORE if path.is_relative_to(CORE) else ROOT
    return ".".join(path.relative_to(base).with_suffix("").parts)


def directly_imported(path: Path) -> set[str]:
    """What a file's own import statements name, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [path for path in SOURCES if set(path.with_suffix("").parts) & banned] == []


def test_packages_import_nothing_by_themselves() -> None:
    assert [path for path in PACKAGE.rglob("__init__.py") if path.read_text(encoding="utf-8").strip()] == []


def test_operations_are_called_what_they_do_and_nothing_else_is() -> None:
    names = [path.stem for path in OPERATIONS]
    assert sorted(set(names)) == sorted(names), "operations' names are unique over all domains"
    for name in names:
        # A function's folder comes first on the path: a file called queue.py would take the place of Python's own.
        assert name not in sys.stdlib_module_names, name
        assert name.isidentifier(), name
        assert "_" in name or name in ("authorize", "reconcile"), f"{name}: call it verb_noun"


def test_an_operation_is_named_after_its_file_and_so_is_its_view(operations: list[Found]) -> None:
    for found, path in zip(operations, OPERATIONS, strict=True):
        assert (found.domain, found.app.name) == (path.parent.name, path.stem)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        views = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert path.stem in views, f"{path}: its view is called {path.stem}"


def test_operations_are_short() -> None:
    lengths = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in OPERATIONS}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_an_operation_imports_only_the_project(operations: list[Found]) -> None:
    own = set(sys.stdlib_module_names) | {"itlc"}
    for path in OPERATIONS:
        outside = {name.partition(".")[0] for name in directly_imported(path)} - own
        assert not outside, f"{path} imports {sorted(outside)}"


def test_only_the_seam_knows_chalice() -> None:
    users = [
        path
        for path in [*PACKAGE.rglob("*.py"), *OPERATIONS]
        if "chalice" in {name.partition(".")[0] for name in directly_imported(path)}
    ]
    assert [path.name for path in users] == ["operation.py"]


def test_rules_do_no_io() -> None:
    for path in PACKAGE.glob("*/model.py"):
        direct = directly_imported(path)
        assert not direct & DOES_IO, path
        reached = set().union(*(imports_of(name) for name in direct if name.startswith("itlc."))) & STORES.keys()
        assert not reached, f"{path} reaches {sorted(reached)}"


def test_a_domain_asks_another_through_its_service_never_through_its_tables() -> None:
    domains = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"stores"}
    wrong = set()
    for path in PACKAGE.glob("*/*.py"):
        if path.name == "tables.py":  # a foreign key needs the table that it points to
            continue
        for name in directly_imported(path):
            parts = name.split(".")
            foreign = parts[0] == "itlc" and len(parts) > 2 and parts[1] in domains - {path.parent.name}
            if foreign and parts[2] in ("repository", "tables"):
                wrong.add((f"{path.parent.name}/{path.name}", ".".join(parts[:3])))
    assert wrong <= ALLOWED, f"reached into: {sorted(wrong - ALLOWED)}"
    assert wrong >= ALLOWED, f"no longer needed in ALLOWED: {sorted(ALLOWED - wrong)}"


def test_an_operation_imports_the_drivers_of_the_stores_that_it_uses_and_no_others(operations: list[Found]) -> None:
    for found in operations:
        imported = imports_of(f"functions.{found.domain}.{found.app.name}") & STORES.keys()
        used = {store for store, secrets in STORES.items() if secrets & found.reach.secrets}
        assert imported <= used, f"{found.app.name} imports {sorted(imported - used)} and does not use it"


def test_a_fresh_interpreter_agrees(operations: list[Found]) -> None:
    """What was read from the source is what Python does: one operation of each set of stores, imported by itself."""
    samples: dict[frozenset[str], str] = {}
    for found in operations:
        name = f"functions.{found.domain}.{found.app.name}"
        samples.setdefault(frozenset(imports_of(name) & STORES.keys()), name)
    assert len(samples) >= 4
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(CORE)))}
    for stores, name in samples.items():
        asked = sorted([*STORES, *DRIVERS.values(), "boto3", "pg8000"])
        code = f"import sys, {name}; print(*[m for m in {asked} if m in sys.modules])"
        ran = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        expected = set(stores) | {driver for store, driver in DRIVERS.items() if store in stores}
        assert set(ran.stdout.split()) == expected, name
