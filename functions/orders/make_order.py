"""Turn a bid into an order."""

from itlc.bids import service
from itlc.bids.standing import must_stand
from itlc.operation import Operation
from itlc.orders.schemas import OrderView
from itlc.stores import postgres

app = Operation("make_order")


@app.route(
    "/bids/{bid_id}/order",
    methods=["POST"],
    allow="seller",
    returns=OrderView,
    status=201,
    store=postgres.orders,
    location="orders/{id}",
)
def make_order(bid_id: int) -> OrderView:
    with postgres.orders.read() as db:
        bid = service.bid_to_take(db, bid_id, caller=app.caller)
    must_stand(bid)
    return app.commit(service.take_bid, bid_id, caller=app.caller)
