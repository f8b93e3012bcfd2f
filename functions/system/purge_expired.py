"""Remove what has had its time: spent keys, old events, ended sessions."""

from itlc.operation import Deadline, Operation
from itlc.system.purge import purge

app = Operation("purge_expired")


@app.scheduled
def purge_expired(deadline: Deadline) -> dict[str, int]:
    return purge(deadline)
