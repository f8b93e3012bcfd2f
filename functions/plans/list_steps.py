"""Read the steps of an order's plan, by their numbers."""

from itlc.operation import Operation, Reply
from itlc.paging import Page
from itlc.plans import service
from itlc.plans.schemas import StepQuery, StepView
from itlc.stores.neo4j import graph

app = Operation("list_steps")


@app.route("/orders/{order_id}/steps", methods=["GET"], allow="party", query=StepQuery, returns=Page[StepView])
def list_steps(order_id: int, query: StepQuery) -> Reply:
    order = service.order_of_party(order_id, app.caller)
    return graph.locked_read(lambda db: service.list_steps(db, order, query))
