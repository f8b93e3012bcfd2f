"""Count what one was told and has not read."""

from itlc.notifications import service
from itlc.notifications.schemas import UnreadCount
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("count_unread")


@app.route("/notifications/unread-count", methods=["GET"], allow="user", returns=UnreadCount)
def count_unread() -> UnreadCount:
    with postgres.orders.read() as db:
        return service.count_unread(db, caller=app.caller)
