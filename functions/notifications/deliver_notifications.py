"""Deliver what the domains want told: one notification for each event and person."""

from itlc.events import Event
from itlc.notifications import delivery
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("deliver_notifications")


@app.consumes("notifications")
def deliver_notifications(event: Event) -> None:
    notice = delivery.read_notice(event)
    user_ids = delivery.recipients(notice)
    postgres.orders.write(lambda db: delivery.deliver(db, event, notice, user_ids))
