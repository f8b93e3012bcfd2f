"""Change a template; what was made from it stays as it is."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.templates import service
from itlc.templates.schemas import ChangeTemplate, TemplateView

app = Operation("change_template")


@app.route(
    "/templates/{template_id}",
    methods=["PATCH"],
    allow="admin",
    accepts=ChangeTemplate,
    returns=TemplateView,
    store=postgres.templates,
)
def change_template(template_id: int, request: ChangeTemplate) -> TemplateView:
    return app.commit(service.change, template_id, request, actor_id=app.caller.id, if_match=app.if_match)
