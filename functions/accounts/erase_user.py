"""Erase in every store those whose account was closed."""

from itlc.accounts import erasure
from itlc.events import Event
from itlc.operation import Operation

app = Operation("erase_user")


@app.consumes("erasures")
def erase_user(event: Event) -> None:
    erasure.erase(event)
