"""Complete a step whose dependencies are complete."""

from uuid import UUID

from itlc.operation import Operation
from itlc.plans import service
from itlc.plans.schemas import StepView
from itlc.stores.neo4j import graph

app = Operation("complete_step")


@app.route(
    "/orders/{order_id}/steps/{step_id}/completion", methods=["POST"], allow="seller", returns=StepView, store=graph
)
def complete_step(order_id: int, step_id: UUID) -> StepView:
    order = service.order_of_provider(order_id, app.caller)
    return app.commit(service.complete_step, order, step_id, caller=app.caller)
