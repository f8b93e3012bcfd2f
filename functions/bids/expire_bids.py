"""Expire bids that have been open for too long, and have their bidders told."""

from datetime import timedelta

from itlc.bids import service
from itlc.operation import Deadline, Operation
from itlc.settings import settings
from itlc.stores import postgres

app = Operation("expire_bids")


@app.scheduled
def expire_bids(deadline: Deadline) -> dict[str, int]:
    age, expired = timedelta(days=settings().bid_days), 0
    while not deadline.passed:
        batch = postgres.orders.write(lambda db: service.expire_bids(db, age))
        expired += batch
        if not batch:
            break
    return {"expired": expired}
