"""See how buyers rated a service."""

from itlc.catalog.service import find_service
from itlc.feedback import service
from itlc.feedback.schemas import PublicRating, ServiceRatings
from itlc.operation import Operation
from itlc.paging import Found, PageQuery
from itlc.stores import mongo

app = Operation("list_service_ratings")


@app.route("/services/{service_id}/ratings", methods=["GET"], allow="anyone", query=PageQuery, returns=ServiceRatings)
def list_service_ratings(service_id: int, query: PageQuery) -> Found[PublicRating]:
    rated = find_service(service_id)
    with mongo.ratings.read() as db:
        return service.list_service_ratings(db, rated.id, query)
