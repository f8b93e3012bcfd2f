"""Read what buyers say of a service."""

from itlc.catalog.service import find_service
from itlc.feedback import service
from itlc.feedback.schemas import ReviewView
from itlc.operation import Operation
from itlc.paging import Found, Page, PageQuery
from itlc.stores import mongo

app = Operation("list_service_reviews")


@app.route("/services/{service_id}/reviews", methods=["GET"], allow="anyone", query=PageQuery, returns=Page[ReviewView])
def list_service_reviews(service_id: int, query: PageQuery) -> Found[ReviewView]:
    reviewed = find_service(service_id)
    with mongo.reviews.read() as db:
        return service.list_service_reviews(db, reviewed.id, query)
