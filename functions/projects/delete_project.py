"""Give up a project that has no orders."""

from itlc.operation import Operation
from itlc.orders.closing import closed_project
from itlc.projects import service
from itlc.stores import mongo

app = Operation("delete_project")


@app.route("/projects/{project_id}", methods=["DELETE"], allow="owner", status=204, store=mongo.projects)
def delete_project(project_id: str) -> None:
    project = service.own_project(project_id, app.caller)
    app.if_match.check(project)
    with closed_project(project.id):
        app.commit(service.delete_project, project_id, caller=app.caller, if_match=app.if_match)
