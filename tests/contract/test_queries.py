"""Queries take parameters: no SQL and no Cypher is put together out of values, no filter runs code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "layers/core/itlc").rglob("*.py"), *(ROOT / "functions").rglob("*.py")])
RUNS_A_QUERY = {"run", "one", "execute", "scalar", "scalars", "text", "literal_column", "exec_driver_sql"}
RUNS_CODE = {"$where", "$function", "$accumulator"}


def _is_written_down(part: ast.AST) -> bool:
    """Whether a part of an f-string is text, or a module's constant, which is text as well."""
    return isinstance(part, ast.Constant) or (
        isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id.isupper()
    )


def made_of_values(node: ast.AST) -> bool:
    """Whether a string is formatted, interpolated or added up, instead of being written down."""
    for part in ast.walk(node):
        match part:
            case ast.JoinedStr(values=values) if not all(_is_written_down(value) for value in values):
                return True
            case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str())):
                return True
            case ast.BinOp(op=ast.Add(), left=left, right=right) if any(
                isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (left, right)
            ):
                return True
            case ast.Call(func=ast.Attribute(attr="format" | "format_map")):
                return True
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()), attr="join" | "replace")):
                return True
    return False


def violations(source: str) -> Iterator[int]:
    """The lines that run a query made of values, or a filter that runs code."""
    tree = ast.parse(source)
    assigned: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, []).append(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in RUNS_CODE:
            yield node.lineno
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in RUNS_A_QUERY:
            continue
        query = node.args[0]
        values = [query, *(assigned.get(query.id, []) if isinstance(query, ast.Name) else [])]
        if any(made_of_values(value) for value in values):
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_queries_are_written_down_and_values_are_parameters(path: Path) -> None:
    assert list(violations(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        'tx.run(f"MATCH (n {{id: {id}}}) RETURN n")',
        'db.execute(text("SELECT 1 WHERE x = %s" % value))',
        'db.execute(text("SELECT " + column))',
        'query = "SELECT {}".format(value)\ndb.exec_driver_sql(query)',
        'documents.find({"$where": code})',
    ],
)
def test_the_lint_sees(source: str) -> None:
    assert list(violations(source)), "this one must be found"
