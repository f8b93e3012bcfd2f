"""Set payments and refunds going again that were left under way."""

from itlc.operation import Deadline, Operation
from itlc.wallet import resuming

app = Operation("resume_payments")


@app.scheduled
def resume_payments(deadline: Deadline) -> dict[str, int]:
    return resuming.resume(deadline)
