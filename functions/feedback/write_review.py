"""Review a service that one bought."""

from itlc.catalog.service import find_service
from itlc.feedback import service
from itlc.feedback.schemas import ReviewView, WriteReview
from itlc.operation import Operation
from itlc.orders.service import bought
from itlc.stores import mongo

app = Operation("write_review")


@app.route(
    "/reviews",
    methods=["POST"],
    allow="user",
    accepts=WriteReview,
    returns=ReviewView,
    status=201,
    store=mongo.reviews,
)
def write_review(request: WriteReview) -> ReviewView:
    reviewed = find_service(request.service_id, field="service_id")
    has_bought = bought(app.caller.id, reviewed.id)
    return app.commit(service.write_review, request, reviewed, bought=has_bought, caller=app.caller)
