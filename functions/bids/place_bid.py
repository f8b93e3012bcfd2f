"""Bid on a service, for oneself or for one of one's projects."""

from itlc.bids import service
from itlc.bids.schemas import BidView, PlaceBid
from itlc.catalog.service import offered_service
from itlc.operation import Operation
from itlc.projects.service import own_project
from itlc.stores import postgres

app = Operation("place_bid")


@app.route(
    "/services/{service_id}/bids",
    methods=["POST"],
    allow="user",
    accepts=PlaceBid,
    returns=BidView,
    status=201,
    store=postgres.orders,
    location="bids/{id}",
)
def place_bid(service_id: int, request: PlaceBid) -> BidView:
    offered = offered_service(service_id)
    if request.project_id is not None:
        own_project(request.project_id, app.caller, field="project_id")
    return app.commit(service.place_bid, request, service=offered, bidder_id=app.caller.id)
