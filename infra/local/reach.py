"""What an operation can reach, read from its source: the secrets, the queues and the errors behind its view.

The view's names are followed from module to module, through `service.py` and `repository.py` down to the stores,
without running anything. Whatever is named counts as used, so an answer may hold a little more than a given call needs,
never less. The contract test compares it with the template's policies, the OpenAPI document takes its error statuses
from it.
"""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "layers" / "core"

STORES = {
    "itlc.stores.postgres": frozenset({"users", "api", "orders", "tokens", "templates"}),
    "itlc.stores.mongo": frozenset({"mongodb"}),
    "itlc.stores.neo4j": frozenset({"neo4j"}),
}
"""The modules that bring a driver, and the secrets that only they need."""

# The seam serves every operation: what it needs, and what it refuses, depends on the route and not on its source. What
# `send_now` sends was named where the event was made.
_NOT_FOLLOWED = {
    ("itlc.operation", None),
    ("itlc.access", None),
    ("itlc.preconditions", None),
    ("itlc.idempotency", None),
    ("itlc.events", "send_now"),
}
# Methods of objects that the view is handed, which are known by their names alone.
_RAISED_BY_METHOD = {"must_own": "Forbidden", "must_see": "NotFound", "if_match": "PreconditionFailed"}

EVERY_QUEUE, SAME_QUEUE = "*", "="

Place = tuple[str, str]
"""A module and a name in it."""


@dataclass
class Reach:
    """What an operation can reach. Among `queues` may be EVERY_QUEUE, for one that sends whatever waits in an outbox,
    and SAME_QUEUE, for one that sends to the queue of an event at hand."""

    secrets: set[str] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    """AWS services whose clients it makes itself, such as `ses`."""
    errors: set[str] = field(default_factory=set)
    """Names of classes of `itlc.errors`."""


class _Module:
    """One source file: what it defines at its top level, and what its names stand for."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        self.tree = tree
        self.definitions: dict[str, ast.AST] = {}
        self.imported: dict[str, Place | str] = {}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self._define(target, node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.definitions[node.target.id] = node.value
        for part in ast.walk(tree):
            if isinstance(part, ast.ImportFrom) and part.module:
                for alias in part.names:
                    whole = f"{part.module}.{alias.name}"
                    self.imported[alias.asname or alias.name] = (
                        whole if module_path(whole) else (part.module, alias.name)
                    )
            elif isinstance(part, ast.Import):
                for alias in part.names:
                    self.imported[alias.asname or alias.name.partition(".")[0]] = alias.name

    def _define(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.definitions[target.id] = value
        elif isinstance(target, ast.Tuple):
            paired = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            values = value.elts if paired else [value] * len(target.elts)  # type: ignore[attr-defined]
            for one, its in zip(target.elts, values, strict=True):
                self._define(one, its)

    def constant(self, node: ast.AST) -> str | None:
        """The string that `node` is, spelled out or by the name of a constant."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            target = self.imported.get(node.id)
            if isinstance(target, tuple) and (other := module(target[0])):
                return other.constant(ast.Name(target[1]))
            value = self.definitions.get(node.id)
            return self.constant(value) if isinstance(value, ast.Constant) else None
        return None


def module_path(name: str) -> Path | None:
    """The file of a module of `itlc` or `functions`, None for anything else."""
    top = name.partition(".")[0]
    if top not in ("itlc", "functions"):
        return None
    base = (CORE if top == "itlc" else ROOT) / Path(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def module(name: str) -> _Module | None:
    """The parsed module, None when it is not one of ours."""
    path = module_path(name)
    return _Module(name, path) if path else None


def imports_of(name: str) -> set[str]:
    """The modules that importing `name` imports: ours all the way down, others by their first part."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        parsed = module(here)
        if parsed is None:
            continue
        for node in parsed.tree.body:
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
                submodules = [f"{node.module}.{alias.name}" for alias in node.names]
                waiting += [whole for whole in submodules if module_path(whole)]
    return {item if module_path(item) else item.partition(".")[0] for item in found}


def reach_of(operation: str, *more: Place) -> Reach:
    """What the operation's module (`functions.catalog.publish_service`) can reach, and the places `more` besides."""
    reach = Reach()
    parsed = module(operation)
    if parsed is None:
        raise LookupError(f"there is no module {operation}")
    seen: set[Place] = set()
    waiting = [(operation, name) for name, node in parsed.definitions.items() if isinstance(node, ast.FunctionDef)]
    waiting += more
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        waiting += _follow(place, reach)
    return reach


def _follow(place: Place, reach: Reach) -> Iterator[Place]:
    """Note in `reach` what is at `place`, and give the places that it names."""
    name, attribute = place
    if {(name, None), place} & _NOT_FOLLOWED:
        return
    if name == "itlc.errors":
        reach.errors.add(attribute)
        return
    if place == ("itlc.events", "send"):
        reach.queues.add(EVERY_QUEUE)
    parsed = module(name)
    if parsed is None:
        return
    if attribute in parsed.imported and attribute not in parsed.definitions:
        target = parsed.imported[attribute]
        if isinstance(target, tuple):
            yield target
        return
    node = parsed.definitions.get(attribute)
    if node is None:
        return
    if name == "itlc.stores.postgres" and _called(node) == "Database":
        reach.secrets.add(ast.literal_eval(node.args[1]))  # type: ignore[attr-defined]
        return
    for part in _used(node):
        if isinstance(part, ast.Call):
            _note_call(parsed, part, reach)
        if isinstance(part, ast.Attribute):
            if part.attr in _RAISED_BY_METHOD:
                reach.errors.add(_RAISED_BY_METHOD[part.attr])
            if isinstance(part.value, ast.Name):
                whole = parsed.imported.get(part.value.id)
                if isinstance(whole, str):
                    yield whole, part.attr
        if isinstance(part, ast.Name) and not hasattr(builtins, part.id):
            imported = parsed.imported.get(part.id)
            if isinstance(imported, tuple):
                if imported[0] == "itlc.errors" and name.startswith("itlc.stores."):
                    continue  # that a store is away follows from its use, the rest is the seam's
                yield imported
            elif imported is None and part.id in parsed.definitions:
                yield name, part.id


def _used(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of `node` that do something: not what annotates, and not the errors that are caught."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or (name == "type" and isinstance(node, ast.ExceptHandler)):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _used(part)


def _called(node: ast.AST) -> str | None:
    """The last name of what a call calls."""
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def _note_call(parsed: _Module, call: ast.Call, reach: Reach) -> None:
    called = _called(call)
    if not call.args:
        return
    first = call.args[0]
    if called == "secret":
        if value := parsed.constant(first):
            reach.secrets.add(value)
    elif called == "client":
        value = parsed.constant(first)
        if value not in (None, "sqs", "secretsmanager"):
            reach.services.add(str(value))
    elif _takes_queue(parsed, call) and parsed.name != "itlc.events":
        if value := parsed.constant(first):
            reach.queues.add(value)
        elif isinstance(first, ast.Attribute) and first.attr == "queue":
            reach.queues.add(SAME_QUEUE)
        elif not (isinstance(first, ast.Name) and first.id == "queue"):  # whoever hands the queue on was named it
            raise ValueError(f"{parsed.name}:{call.lineno}: name the event's queue by a string or a module's constant")


def _takes_queue(parsed: _Module, call: ast.Call) -> bool:
    """Whether the function that is called makes an event: one whose first parameter is `queue`."""
    function = call.func
    if isinstance(function, ast.Name):
        target = parsed.imported.get(function.id, (parsed.name, function.id))
    elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        whole = parsed.imported.get(function.value.id)
        target = (whole, function.attr) if isinstance(whole, str) else ("", "")
    else:
        return False
    other = module(target[0]) if isinstance(target, tuple) else None
    node = other.definitions.get(target[1]) if other else None
    return isinstance(node, ast.FunctionDef) and bool(node.args.args) and node.args.args[0].arg == "queue"
