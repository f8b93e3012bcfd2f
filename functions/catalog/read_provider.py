"""Read a provider's profile."""

from itlc.catalog import service
from itlc.catalog.schemas import ProviderView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("read_provider")


@app.route("/providers/{provider_id}", methods=["GET"], allow="anyone", returns=ProviderView)
def read_provider(provider_id: int) -> ProviderView:
    with postgres.catalog.read() as db:
        return service.read_provider(db, provider_id)
