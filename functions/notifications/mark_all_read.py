"""Mark everything that one was told as read."""

from itlc.notifications import service
from itlc.notifications.schemas import UnreadCount
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("mark_all_read")


@app.route("/notifications/read-all", methods=["POST"], allow="user", returns=UnreadCount, store=postgres.orders)
def mark_all_read() -> UnreadCount:
    service.mark_all_read(caller=app.caller)
    return app.commit(service.count_unread, caller=app.caller)
