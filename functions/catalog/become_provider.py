"""Get a provider profile, to offer services."""

from itlc.accounts.service import email_of
from itlc.catalog import service
from itlc.catalog.schemas import BecomeProvider, ProviderView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("become_provider")


@app.route(
    "/providers",
    methods=["POST"],
    allow="user",
    accepts=BecomeProvider,
    returns=ProviderView,
    status=201,
    store=postgres.catalog,
    location="providers/{id}",
)
def become_provider(request: BecomeProvider) -> ProviderView:
    user_email = email_of(app.caller.id)
    return app.commit(service.become_provider, request, user_id=app.caller.id, user_email=user_email)
