"""Browse the services on offer."""

from itlc.catalog import service
from itlc.catalog.schemas import ServiceQuery, ServiceView
from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres

app = Operation("list_services")


@app.route("/services", methods=["GET"], allow="anyone", query=ServiceQuery, returns=Page[ServiceView])
def list_services(query: ServiceQuery) -> Found[ServiceView]:
    with postgres.catalog.read() as db:
        return service.list_services(db, query)
