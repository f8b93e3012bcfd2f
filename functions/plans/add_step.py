"""Add a step to an order's plan, at its end or between others."""

from itlc.operation import Operation
from itlc.plans import service
from itlc.plans.schemas import AddStep, StepView
from itlc.stores.neo4j import graph

app = Operation("add_step")


@app.route(
    "/orders/{order_id}/steps",
    methods=["POST"],
    allow="seller",
    accepts=AddStep,
    returns=StepView,
    status=201,
    store=graph,
    location="orders/{order_id}/steps/{id}",
)
def add_step(order_id: int, request: AddStep) -> StepView:
    order = service.order_of_provider(order_id, app.caller)
    return app.commit(service.add_step, order, request, caller=app.caller)
