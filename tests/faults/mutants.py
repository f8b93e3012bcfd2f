"""Deliberate breaks: the code without one of its guards, for as long as a proof runs."""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from tests.support.stack import Stores


@dataclass(frozen=True)
class Mutant:
    """What is broken, where (`itlc.wallet.ledger:transfer`), which text becomes which, and who must notice."""

    breaks: str
    function: str
    text: str
    becomes: str
    noticed_by: Callable[[Stores], None]

    def __str__(self) -> str:
        return self.breaks


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Run a block on the broken code. Its function keeps its identity, so whoever imported it runs the new code.

    Raises LookupError when the text is not there exactly once: then the mutant has to follow the code.
    """
    module_name, _, path = mutant.function.partition(":")
    module = importlib.import_module(module_name)
    function = _function(module, path)
    original = function.__code__
    function.__code__ = _compiled(Path(inspect.getfile(module)), path, mutant)
    try:
        yield
    finally:
        function.__code__ = original


def _function(module: Any, path: str) -> FunctionType:
    found = module
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    plain = inspect.unwrap(getattr(found, "__func__", found))
    assert isinstance(plain, FunctionType), f"{path} is no function"
    return plain


def _compiled(file: Path, path: str, mutant: Mutant) -> CodeType:
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    node = _node(ast.parse(source), path)
    body = "".join(lines[node.lineno - 1 : node.end_lineno])
    if body.count(mutant.text) != 1:
        raise LookupError(f"{mutant.function} has not once, but {body.count(mutant.text)} times: {mutant.text}")
    broken = body.replace(mutant.text, mutant.becomes)
    changed = "".join(lines[: node.lineno - 1]) + broken + "".join(lines[node.end_lineno :])
    code = compile(changed, str(file), "exec", dont_inherit=True)
    for name in path.split("."):
        (code,) = (one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
    return code


def _node(tree: ast.AST, path: str) -> ast.FunctionDef:
    node: Any = tree
    for name in path.split("."):
        (node,) = (one for one in node.body if getattr(one, "name", None) == name)
    assert isinstance(node, ast.FunctionDef)
    return node
