"""Read what one was told."""

from itlc.notifications import service
from itlc.notifications.schemas import NotificationQuery, NotificationView
from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres

app = Operation("list_notifications")


@app.route("/notifications", methods=["GET"], allow="user", query=NotificationQuery, returns=Page[NotificationView])
def list_notifications(query: NotificationQuery) -> Found[NotificationView]:
    with postgres.orders.read() as db:
        return service.list_notifications(db, query, caller=app.caller)
