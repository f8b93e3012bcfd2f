"""Browse the providers."""

from itlc.catalog import service
from itlc.catalog.schemas import ProviderQuery, ProviderView
from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres

app = Operation("list_providers")


@app.route("/providers", methods=["GET"], allow="anyone", query=ProviderQuery, returns=Page[ProviderView])
def list_providers(query: ProviderQuery) -> Found[ProviderView]:
    with postgres.catalog.read() as db:
        return service.list_providers(db, query)
