"""Read one step of an order's plan."""

from uuid import UUID

from itlc.operation import Operation
from itlc.plans import service
from itlc.plans.schemas import StepView
from itlc.stores.neo4j import graph

app = Operation("read_step")


@app.route("/orders/{order_id}/steps/{step_id}", methods=["GET"], allow="party", returns=StepView)
def read_step(order_id: int, step_id: UUID) -> StepView:
    order = service.order_of_party(order_id, app.caller)
    return graph.locked_read(lambda db: service.read_step(db, order, step_id))
