"""Change a provider's name or e-mail address."""

from itlc.catalog import service
from itlc.catalog.schemas import ChangeProvider, ProviderView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("change_provider")


@app.route(
    "/providers/{provider_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=ChangeProvider,
    returns=ProviderView,
    store=postgres.catalog,
    also=(409,),
)
def change_provider(provider_id: int, request: ChangeProvider) -> ProviderView:
    return app.commit(service.change_provider, provider_id, request, caller=app.caller, if_match=app.if_match)
