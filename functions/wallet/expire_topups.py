"""Settle top-ups that have been pending for too long, by what the ledger says of them."""

from itlc.operation import Deadline, Operation
from itlc.wallet import topups

app = Operation("expire_topups")


@app.scheduled
def expire_topups(deadline: Deadline) -> dict[str, int]:
    return topups.expire(deadline)
