"""Show how an order's plan hangs together and how far it is: as JSON, as a picture, or as the picture's source."""

from itlc.operation import Operation, Reply
from itlc.plans import service
from itlc.plans.presentation import present
from itlc.plans.schemas import PlanView
from itlc.stores.neo4j import graph

app = Operation("show_plan")


@app.route(
    "/orders/{order_id}/plan",
    methods=["GET"],
    allow="party",
    returns=PlanView,
    content_types=("application/json", "image/svg+xml", "text/vnd.mermaid"),
)
def show_plan(order_id: int) -> Reply:
    order = service.order_of_party(order_id, app.caller)
    steps = graph.locked_read(lambda db: service.plan_of(db, order.id))
    return present(order.id, steps, app.content_type)
