"""Plan a project, in one's own words or in a template's."""

from itlc.catalog.service import all_offered
from itlc.operation import Operation
from itlc.projects import service
from itlc.projects.schemas import CreateProject, ProjectView
from itlc.stores import mongo
from itlc.templates.service import template_of_type

app = Operation("create_project")


@app.route(
    "/projects",
    methods=["POST"],
    allow="user",
    accepts=CreateProject,
    returns=ProjectView,
    status=201,
    store=mongo.projects,
    location="projects/{id}",
)
def create_project(request: CreateProject) -> ProjectView:
    template = template_of_type("project", request.template_id)
    all_offered(request.service_ids, field="service_ids")
    return app.commit(service.create_project, request, caller=app.caller, template=template)
