"""Pay for a completed order; what is not settled at once, the queue settles."""

from itlc.operation import Operation, Reply
from itlc.stores import postgres
from itlc.wallet import payments
from itlc.wallet.schemas import PaidOrder, PayingOrder

app = Operation("pay_order")


@app.route(
    "/orders/{order_id}/payment",
    methods=["POST"],
    allow="customer",
    returns=PaidOrder | PayingOrder,
    status=201,
    store=postgres.orders,
    key="required",
    live_session=True,
    also=(202, 402),
)
def pay_order(order_id: int) -> Reply:
    return payments.pay_order(order_id, caller=app.caller, key=app.required_key)
