"""Read one order."""

from itlc.operation import Operation
from itlc.orders import service
from itlc.orders.schemas import OrderView
from itlc.stores import postgres

app = Operation("read_order")


@app.route("/orders/{order_id}", methods=["GET"], allow="party", returns=OrderView)
def read_order(order_id: int) -> OrderView:
    with postgres.orders.read() as db:
        return service.read_order(db, order_id, caller=app.caller)
