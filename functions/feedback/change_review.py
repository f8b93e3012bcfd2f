"""Change a review of one's own."""

from itlc.feedback import service
from itlc.feedback.schemas import ChangeReview, ReviewView
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("change_review")


@app.route(
    "/reviews/{review_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=ChangeReview,
    returns=ReviewView,
    store=mongo.reviews,
)
def change_review(review_id: str, request: ChangeReview) -> ReviewView:
    return app.commit(service.change_review, review_id, request, caller=app.caller, if_match=app.if_match)
