"""Change what a project is called or says."""

from itlc.operation import Operation
from itlc.projects import service
from itlc.projects.schemas import ChangeProject, ProjectView
from itlc.stores import mongo

app = Operation("change_project")


@app.route(
    "/projects/{project_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=ChangeProject,
    returns=ProjectView,
    store=mongo.projects,
)
def change_project(project_id: str, request: ChangeProject) -> ProjectView:
    return app.commit(service.change_project, project_id, request, caller=app.caller, if_match=app.if_match)
