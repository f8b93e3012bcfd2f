"""Rate the work of an order."""

from itlc.feedback import service
from itlc.feedback.schemas import RateOrder, RatingView
from itlc.operation import Operation
from itlc.orders.service import order_for
from itlc.stores import mongo

app = Operation("rate_order")


@app.route(
    "/orders/{order_id}/rating",
    methods=["PUT"],
    allow="customer",
    accepts=RateOrder,
    returns=RatingView,
    store=mongo.ratings,
)
def rate_order(order_id: int, request: RateOrder) -> RatingView:
    return app.commit(service.rate_order, order_for(order_id), request, caller=app.caller, if_match=app.if_match)
