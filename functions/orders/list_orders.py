"""See the orders that one has given or taken."""

from itlc.operation import Operation
from itlc.orders import service
from itlc.orders.schemas import OrderQuery, OrderView
from itlc.paging import Found, Page
from itlc.stores import postgres

app = Operation("list_orders")


@app.route("/orders", methods=["GET"], allow="user", query=OrderQuery, returns=Page[OrderView])
def list_orders(query: OrderQuery) -> Found[OrderView]:
    with postgres.orders.read() as db:
        return service.list_orders(db, query, caller=app.caller)
