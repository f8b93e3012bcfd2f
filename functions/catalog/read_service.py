"""Read a service, also one that was withdrawn."""

from itlc.catalog import service
from itlc.catalog.schemas import ServiceView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("read_service")


@app.route("/services/{service_id}", methods=["GET"], allow="anyone", returns=ServiceView)
def read_service(service_id: int) -> ServiceView:
    with postgres.catalog.read() as db:
        return service.read_service(db, service_id)
