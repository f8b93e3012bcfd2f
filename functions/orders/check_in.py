"""Report how the work on an order stands."""

from itlc.operation import Operation
from itlc.orders import service
from itlc.orders.schemas import CheckIn, CheckinView
from itlc.stores import postgres

app = Operation("check_in")


@app.route(
    "/orders/{order_id}/checkins",
    methods=["POST"],
    allow="seller",
    accepts=CheckIn,
    returns=CheckinView,
    status=201,
    store=postgres.orders,
)
def check_in(order_id: int, request: CheckIn) -> CheckinView:
    return app.commit(service.check_in, order_id, request, caller=app.caller)
