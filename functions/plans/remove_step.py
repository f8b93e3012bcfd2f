"""Remove an open step, on which no other depends, from an order's plan."""

from uuid import UUID

from itlc.operation import Operation
from itlc.plans import service
from itlc.stores.neo4j import graph

app = Operation("remove_step")


@app.route("/orders/{order_id}/steps/{step_id}", methods=["DELETE"], allow="seller", status=204, store=graph)
def remove_step(order_id: int, step_id: UUID) -> None:
    order = service.order_of_provider(order_id, app.caller)
    app.commit(service.remove_step, order, step_id, caller=app.caller, if_match=app.if_match)
