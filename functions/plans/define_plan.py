"""Lay down an order's plan, in the place of whatever plan it had."""

from itlc.operation import Operation, Reply
from itlc.plans import service
from itlc.plans.schemas import PlanInput, StepInput, StepView
from itlc.stores.neo4j import graph

app = Operation("define_plan")


@app.route(
    "/orders/{order_id}/steps",
    methods=["PUT"],
    allow="seller",
    accepts=PlanInput,
    returns=list[StepView],
    store=graph,
)
def define_plan(order_id: int, request: list[StepInput]) -> Reply:
    order = service.order_of_provider(order_id, app.caller)
    return app.commit(service.define_plan, order, request, caller=app.caller, if_match=app.if_match)
