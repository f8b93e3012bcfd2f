"""Have a project no longer use a service."""

from itlc.operation import Operation
from itlc.projects import service
from itlc.stores import mongo

app = Operation("drop_service")


@app.route(
    "/projects/{project_id}/services/{service_id}", methods=["DELETE"], allow="owner", status=204, store=mongo.projects
)
def drop_service(project_id: str, service_id: int) -> None:
    app.commit(service.drop_service, project_id, service_id, caller=app.caller, if_match=app.if_match)
