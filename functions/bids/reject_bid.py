"""Decline a bid that is still open."""

from itlc.bids import service
from itlc.bids.schemas import BidView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("reject_bid")


@app.route("/bids/{bid_id}/rejection", methods=["POST"], allow="seller", returns=BidView, store=postgres.orders)
def reject_bid(bid_id: int) -> BidView:
    return app.commit(service.reject_bid, bid_id, caller=app.caller)
