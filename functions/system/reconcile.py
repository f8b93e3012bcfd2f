"""Check once a day whether all stores agree. A run that finds that they do not, or cannot tell, counts as an error: an
alarm watches it."""

from functools import partial

from itlc.operation import Deadline, Operation
from itlc.stores import postgres
from itlc.system import reconciliation
from itlc.system.service import keep

app = Operation("reconcile")


@app.scheduled
def reconcile(deadline: Deadline) -> dict[str, int]:
    reconciled = reconciliation.reconcile(deadline)
    kept = postgres.users.write(partial(keep, reconciled=reconciled, made_by=None))
    return {"broken": kept.broken, "not_checked": kept.not_checked, "failed": kept.broken + kept.not_checked}
