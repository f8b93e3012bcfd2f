"""Read how the work on an order went, oldest report first."""

from itlc.operation import Operation
from itlc.orders import service
from itlc.orders.schemas import CheckinView
from itlc.paging import Found, Page, PageQuery
from itlc.stores import postgres

app = Operation("list_checkins")


@app.route("/orders/{order_id}/checkins", methods=["GET"], allow="party", query=PageQuery, returns=Page[CheckinView])
def list_checkins(order_id: int, query: PageQuery) -> Found[CheckinView]:
    with postgres.orders.read() as db:
        return service.list_checkins(db, order_id, query, caller=app.caller)
