"""Mark a notification as read, or as not read."""

from itlc.notifications import service
from itlc.notifications.schemas import MarkNotification, NotificationView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("mark_notification")


@app.route(
    "/notifications/{notification_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=MarkNotification,
    returns=NotificationView,
    store=postgres.orders,
)
def mark_notification(notification_id: int, request: MarkNotification) -> NotificationView:
    return app.commit(service.mark_notification, notification_id, request, caller=app.caller, if_match=app.if_match)
