"""Browse the templates."""

from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres
from itlc.templates import service
from itlc.templates.schemas import TemplateQuery, TemplateView

app = Operation("list_templates")


@app.route("/templates", methods=["GET"], allow="anyone", query=TemplateQuery, returns=Page[TemplateView])
def list_templates(query: TemplateQuery) -> Found[TemplateView]:
    with postgres.templates.read() as db:
        return service.find(db, query)
