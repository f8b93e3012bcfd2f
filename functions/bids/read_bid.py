"""Read one bid."""

from itlc.bids import service
from itlc.bids.schemas import BidView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("read_bid")


@app.route("/bids/{bid_id}", methods=["GET"], allow="bidder or seller", returns=BidView)
def read_bid(bid_id: int) -> BidView:
    with postgres.orders.read() as db:
        return service.read_bid(db, bid_id, caller=app.caller)
