"""Read a template."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.templates import service
from itlc.templates.schemas import TemplateView

app = Operation("read_template")


@app.route("/templates/{template_id}", methods=["GET"], allow="anyone", returns=TemplateView)
def read_template(template_id: int) -> TemplateView:
    with postgres.templates.read() as db:
        return service.read(db, template_id)
