"""List what reconciliations found."""

from itlc.operation import Operation
from itlc.paging import Found, Page, PageQuery
from itlc.stores import postgres
from itlc.system import service
from itlc.system.schemas import ReconciliationView

app = Operation("list_reconciliations")


@app.route("/admin/reconciliations", methods=["GET"], allow="admin", query=PageQuery, returns=Page[ReconciliationView])
def list_reconciliations(query: PageQuery) -> Found[ReconciliationView]:
    """Newest first."""
    with postgres.users.read() as db:
        return service.list_reconciliations(db, query)
