"""Give up a project that has no orders."""

from itlc.operation import Operation
from itlc.orders.service import project_has_orders
from itlc.projects import service
from itlc.stores import mongo

app = Operation("delete_project")


@app.route("/projects/{project_id}", methods=["DELETE"], allow="owner", status=204, store=mongo.projects)
def delete_project(project_id: str) -> None:
    project = service.own_project(project_id, app.caller)
    has_orders = project_has_orders(project.id)
    app.commit(service.delete_project, project_id, has_orders=has_orders, caller=app.caller, if_match=app.if_match)
