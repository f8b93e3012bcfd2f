"""Change an open step of an order's plan."""

from uuid import UUID

from itlc.operation import Operation
from itlc.plans import service
from itlc.plans.schemas import ChangeStep, StepView
from itlc.stores.neo4j import graph

app = Operation("change_step")


@app.route(
    "/orders/{order_id}/steps/{step_id}",
    methods=["PATCH"],
    allow="seller",
    accepts=ChangeStep,
    returns=StepView,
    store=graph,
)
def change_step(order_id: int, step_id: UUID, request: ChangeStep) -> StepView:
    order = service.order_of_provider(order_id, app.caller)
    return app.commit(service.change_step, order, step_id, request, caller=app.caller, if_match=app.if_match)
