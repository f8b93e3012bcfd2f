"""Keep a template, from which projects or services can be made."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.templates import service
from itlc.templates.schemas import KeepTemplate, TemplateView

app = Operation("keep_template")


@app.route(
    "/templates",
    methods=["POST"],
    allow="admin",
    accepts=KeepTemplate,
    returns=TemplateView,
    status=201,
    store=postgres.templates,
    location="templates/{id}",
)
def keep_template(request: KeepTemplate) -> TemplateView:
    return app.commit(service.keep, request, actor_id=app.caller.id)
