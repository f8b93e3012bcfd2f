"""See what was bid on a service; whose bids they are only its provider sees, and every bidder their own."""

from itlc.bids import service
from itlc.bids.schemas import AnonymousBid, BidView
from itlc.catalog.service import find_service
from itlc.operation import Operation
from itlc.paging import Found, Page, PageQuery
from itlc.stores import postgres

app = Operation("list_service_bids")


@app.route(
    "/services/{service_id}/bids", methods=["GET"], allow="user", query=PageQuery, returns=Page[BidView | AnonymousBid]
)
def list_service_bids(service_id: int, query: PageQuery) -> Found[BidView | AnonymousBid]:
    bid_on = find_service(service_id)
    with postgres.orders.read() as db:
        return service.list_service_bids(db, bid_on, query, caller=app.caller)
