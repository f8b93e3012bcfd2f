"""See one's own bids."""

from itlc.bids import service
from itlc.bids.schemas import BidView, MyBidQuery
from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres

app = Operation("list_my_bids")


@app.route("/users/me/bids", methods=["GET"], allow="user", query=MyBidQuery, returns=Page[BidView])
def list_my_bids(query: MyBidQuery) -> Found[BidView]:
    with postgres.orders.read() as db:
        return service.list_my_bids(db, query, caller=app.caller)
