"""Credit top-ups, and note how they ended."""

from itlc.events import Event
from itlc.operation import Operation
from itlc.wallet import topups

app = Operation("process_topups")


@app.consumes("topups")
def process_topups(event: Event) -> None:
    topups.SAGA.receive(event)
