"""Have a project use a service."""

from itlc.catalog.service import offered_service
from itlc.operation import Operation
from itlc.projects import service
from itlc.stores import mongo

app = Operation("use_service")


@app.route(
    "/projects/{project_id}/services/{service_id}", methods=["PUT"], allow="owner", status=204, store=mongo.projects
)
def use_service(project_id: str, service_id: int) -> None:
    service.own_project(project_id, app.caller)  # whether the service is there is none of a stranger's business here
    offered_service(service_id)
    app.commit(service.use_service, project_id, service_id, caller=app.caller, if_match=app.if_match)
