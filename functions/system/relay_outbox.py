"""Send the events that still wait in the stores' outboxes."""

from itlc.operation import Deadline, Operation
from itlc.system.relay import relay

app = Operation("relay_outbox")


@app.scheduled
def relay_outbox(deadline: Deadline) -> dict[str, int]:
    return relay(deadline)
