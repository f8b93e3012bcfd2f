"""Remove notifications that were read and are old."""

from datetime import timedelta

from itlc.notifications import service
from itlc.operation import Deadline, Operation
from itlc.settings import settings
from itlc.stores import postgres

app = Operation("purge_notifications")


@app.scheduled
def purge_notifications(deadline: Deadline) -> dict[str, int]:
    age, purged = timedelta(days=settings().notification_days), 0
    while not deadline.passed:
        batch = postgres.orders.write(lambda db: service.purge_notifications(db, age))
        purged += batch
        if not batch:
            break
    return {"purged": purged}
