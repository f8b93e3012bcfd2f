"""Read one project."""

from itlc.operation import Operation
from itlc.projects import service
from itlc.projects.schemas import ProjectView
from itlc.stores import mongo

app = Operation("read_project")


@app.route("/projects/{project_id}", methods=["GET"], allow="owner", returns=ProjectView)
def read_project(project_id: str) -> ProjectView:
    with mongo.projects.read() as db:
        return service.read_project(db, project_id, caller=app.caller)
