"""Give the customer back what an order cost, or a part of it."""

from itlc.operation import Operation, Reply
from itlc.stores import postgres
from itlc.wallet import refunds
from itlc.wallet.schemas import Refunded, Refunding, RefundOrder

app = Operation("refund_order")


@app.route(
    "/orders/{order_id}/refund",
    methods=["POST"],
    allow="seller",
    accepts=RefundOrder,
    returns=Refunded | Refunding,
    status=201,
    store=postgres.orders,
    key="required",
    live_session=True,
    also=(202, 402),
)
def refund_order(order_id: int, request: RefundOrder) -> Reply:
    return refunds.refund_order(order_id, request, caller=app.caller, key=app.required_key)
