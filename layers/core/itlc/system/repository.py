"""The queries on what reconciliations found."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from itlc.paging import Found, PageQuery
from itlc.stores.keyset import keyset
from itlc.system.tables import reconciliations

PAGE_ROWS = 5_000


def add_reconciliation(db: Connection, **fields: Any) -> Row[Any]:
    """The new reconciliation."""
    return db.execute(insert(reconciliations).values(**fields).returning(reconciliations)).one()


def newest(db: Connection, query: PageQuery) -> Found[Row[Any]]:
    """A page of reconciliations, newest first. It is shorter than the query's limit where they name very many rows, so
    that it fits into a Lambda's response."""
    rows = db.execute(keyset(select(reconciliations), (reconciliations.c.id,), query)).all()
    items: list[Row[Any]] = []
    named = 0
    for row in rows[: query.limit]:
        named += sum(len(finding["rows"]) for finding in row.findings)
        if items and named > PAGE_ROWS:
            break
        items.append(row)
    return Found(items, (items[-1].id,) if len(items) < len(rows) else None)
