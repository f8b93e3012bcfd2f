"""Check whether all stores agree, and keep what was found."""

import time

from itlc.operation import Deadline, Operation
from itlc.stores import postgres
from itlc.system.reconciliation import reconcile
from itlc.system.schemas import ReconciliationView
from itlc.system.service import keep

app = Operation("run_reconciliation")
SECONDS = 20  # the gateway waits for 29; what there is no time for is left to the daily job


@app.route(
    "/admin/reconciliations",
    methods=["POST"],
    allow="admin",
    returns=ReconciliationView,
    status=201,
    store=postgres.users,
    key="none",
)
def run_reconciliation() -> ReconciliationView:
    """Nothing is repaired; events that wait unsent are sent again. Each broken invariant names its rows."""
    reconciled = reconcile(Deadline(time.monotonic() + SECONDS))
    return app.commit(keep, reconciled, made_by=app.caller.id)
