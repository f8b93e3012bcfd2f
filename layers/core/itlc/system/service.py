"""What reconciliations found: kept, and listed."""

from typing import Any

from sqlalchemy import Connection, Row

from itlc import audit
from itlc.paging import Found, PageQuery
from itlc.system import repository
from itlc.system.findings import Reconciled
from itlc.system.schemas import ReconciliationView


def keep(db: Connection, reconciled: Reconciled, *, made_by: int | None) -> ReconciliationView:
    """Keep what a reconciliation found. `made_by` is the administrator who asked for it; None for the daily job and
    for the command."""
    row = repository.add_reconciliation(
        db,
        started_at=reconciled.started_at,
        finished_at=reconciled.finished_at,
        made_by=made_by,
        findings=[finding.model_dump(mode="json") for finding in reconciled.findings],
    )
    kept = view(row)
    if made_by is not None:
        found = {"broken": kept.broken, "not_checked": kept.not_checked}
        audit.record(db, made_by, "run_reconciliation", f"reconciliation:{row.id}", after=found)
    return kept


def list_reconciliations(db: Connection, query: PageQuery) -> Found[ReconciliationView]:
    """A page of what reconciliations found, newest first."""
    return repository.newest(db, query).map(view)


def view(row: Row[Any]) -> ReconciliationView:
    """A reconciliation's row as it is answered."""
    states = [finding["state"] for finding in row.findings]
    return ReconciliationView(
        id=row.id,
        started_at=row.started_at,
        finished_at=row.finished_at,
        made_by=row.made_by,
        broken=states.count("broken"),
        not_checked=states.count("not checked"),
        findings=row.findings,
    )
