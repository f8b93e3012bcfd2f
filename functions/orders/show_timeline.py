"""See all that happened to an order, oldest first."""

from itlc.operation import Operation
from itlc.orders import timeline
from itlc.orders.schemas import TimelineEntry
from itlc.paging import Found, Page, PageQuery
from itlc.stores import postgres

app = Operation("show_timeline")


@app.route("/orders/{order_id}/timeline", methods=["GET"], allow="party", query=PageQuery, returns=Page[TimelineEntry])
def show_timeline(order_id: int, query: PageQuery) -> Found[TimelineEntry]:
    with postgres.orders.read() as db:
        entries = timeline.of_order(db, order_id, query, caller=app.caller)
    return timeline.page([*entries, *timeline.of_steps(order_id)], query)
