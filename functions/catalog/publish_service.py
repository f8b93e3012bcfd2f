"""Put a service on the market, in one's own words or in a template's."""

from itlc.catalog.schemas import PublishService, ServiceView
from itlc.catalog.service import publish
from itlc.operation import Operation
from itlc.stores import postgres
from itlc.templates.service import template_of_type

app = Operation("publish_service")


@app.route(
    "/services",
    methods=["POST"],
    allow="provider",
    accepts=PublishService,
    returns=ServiceView,
    status=201,
    store=postgres.catalog,
    location="services/{id}",
)
def publish_service(request: PublishService) -> ServiceView:
    template = template_of_type("service", request.template_id)
    return app.commit(publish, request, provider_id=app.caller.provider_id, template=template)
