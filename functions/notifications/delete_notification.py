"""Delete a notification."""

from itlc.notifications import service
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("delete_notification")


@app.route("/notifications/{notification_id}", methods=["DELETE"], allow="owner", status=204, store=postgres.orders)
def delete_notification(notification_id: int) -> None:
    app.commit(service.delete_notification, notification_id, caller=app.caller, if_match=app.if_match)
