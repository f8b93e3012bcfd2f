"""Finish payments and refunds that a request began: the same steps, each once."""

from itlc.events import Event
from itlc.operation import Operation
from itlc.wallet import settling

app = Operation("settle_payments")


@app.consumes("payments")
def settle_payments(event: Event) -> None:
    settling.SAGA.receive(event)
