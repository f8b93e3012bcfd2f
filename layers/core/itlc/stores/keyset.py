"""Keyset pages in PostgreSQL: a list walked along one index, from a position on (see `itlc.paging`)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, tuple_

from itlc.paging import PageQuery


def keyset(
    statement: Select[Any], keys: Sequence[ColumnElement[Any]], query: PageQuery, *, descending: bool = True
) -> Select[Any]:
    """`statement` ordered by `keys` (which together are unique), beginning after the query's position.

    Row-wise comparison `(a, b) < (:a, :b)` lets PostgreSQL walk one index from that point on.
    """
    if query.after is not None:
        here, there = tuple_(*keys), tuple_(*query.after)
        statement = statement.where(here < there if descending else here > there)
    order = [key.desc() if descending else key.asc() for key in keys]
    return statement.order_by(*order).limit(query.limit + 1)
