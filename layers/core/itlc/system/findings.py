"""How a reconciliation speaks of what it finds, and how it compares what two stores say. No I/O."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, TypeVar

from itlc.system.schemas import Finding

MOST_NAMED = 100

L = TypeVar("L")
R = TypeVar("R")


class NotChecked(Exception):
    """An invariant cannot be checked now; the text says why."""


@dataclass
class Tally:
    """What one check counts: rows looked at, rows that break the invariant, the names of the first hundred of them."""

    looked_at: int = 0
    broken: int = 0
    rows: list[str] = field(default_factory=list)
    remark: str | None = None

    def look(self, rows: int = 1) -> None:
        """So many rows more were looked at."""
        self.looked_at += rows

    def report(self, name: str) -> None:
        """The row of this name, such as `order:12`, breaks the invariant."""
        self.broken += 1
        if len(self.rows) < MOST_NAMED:
            self.rows.append(name)

    def finding(self, name: str, says: str) -> Finding:
        """What the invariant `name`, which `says` something, came to."""
        return Finding(
            name=name,
            says=says,
            state="broken" if self.broken else "holds",
            looked_at=self.looked_at,
            broken=self.broken,
            rows=self.rows,
            remark=self.remark,
        )


@dataclass(frozen=True)
class Reconciled:
    """One reconciliation: when it was made, and what it found of each invariant."""

    started_at: datetime
    finished_at: datetime
    findings: tuple[Finding, ...]


def side_by_side(
    left: Iterable[L], right: Iterable[R], left_key: Callable[[L], Any], right_key: Callable[[R], Any]
) -> Iterator[tuple[list[L], list[R]]]:
    """The rows of two streams that have the same key, key by key; what only one has stands beside an empty list.

    Both streams are sorted by their key, so only the rows of one key are held in memory. Raises ValueError for a
    stream that is not: two stores may sort texts in different ways.
    """
    lefts, rights = _groups(left, left_key), _groups(right, right_key)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None  # noqa: S101
            yield one[1], []
            one = next(lefts, None)
        elif one is None or other[0] < one[0]:
            yield [], other[1]
            other = next(rights, None)
        else:
            yield one[1], other[1]
            one, other = next(lefts, None), next(rights, None)


def _groups(rows: Iterable[L], key: Callable[[L], Any]) -> Iterator[tuple[Any, list[L]]]:
    before: Any = None
    for value, group in groupby(rows, key):
        if before is not None and not before < value:
            raise ValueError(f"a stream is not sorted: {value!r} comes after {before!r}")
        before = value
        yield value, list(group)


def batches(rows: Iterable[L], size: int) -> Iterator[list[L]]:
    """The rows in lists of `size`, the last one shorter."""
    batch: list[L] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
