"""Take back a bid that is still open."""

from itlc.bids import service
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("withdraw_bid")


@app.route("/bids/{bid_id}", methods=["DELETE"], allow="bidder", status=204, store=postgres.orders)
def withdraw_bid(bid_id: int) -> None:
    app.commit(service.withdraw_bid, bid_id, caller=app.caller, if_match=app.if_match)
