"""Cancel an order that is not completed yet."""

from itlc.operation import Operation
from itlc.orders import service
from itlc.orders.schemas import CancelOrder, OrderView
from itlc.stores import postgres

app = Operation("cancel_order")


@app.route(
    "/orders/{order_id}/cancellation",
    methods=["POST"],
    allow="party",
    accepts=CancelOrder,
    returns=OrderView,
    store=postgres.orders,
)
def cancel_order(order_id: int, request: CancelOrder) -> OrderView:
    return app.commit(service.cancel_order, order_id, request, caller=app.caller)
