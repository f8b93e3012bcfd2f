"""Delete a review."""

from itlc.feedback import service
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("delete_review")


@app.route("/reviews/{review_id}", methods=["DELETE"], allow="owner", status=204, store=mongo.reviews)
def delete_review(review_id: str) -> None:
    app.commit(service.delete_review, review_id, caller=app.caller, if_match=app.if_match)
