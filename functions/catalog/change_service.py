"""Change what a service is called or says."""

from itlc.catalog import service
from itlc.catalog.schemas import ChangeService, ServiceView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("change_service")


@app.route(
    "/services/{service_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=ChangeService,
    returns=ServiceView,
    store=postgres.catalog,
)
def change_service(service_id: int, request: ChangeService) -> ServiceView:
    return app.commit(service.change_service, service_id, request, caller=app.caller, if_match=app.if_match)
