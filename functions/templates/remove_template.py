"""Remove a template; what was made from it stays."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.templates import service

app = Operation("remove_template")


@app.route("/templates/{template_id}", methods=["DELETE"], allow="admin", status=204, store=postgres.templates)
def remove_template(template_id: int) -> None:
    app.commit(service.remove, template_id, actor_id=app.caller.id, if_match=app.if_match)
