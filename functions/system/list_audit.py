"""Who did what to which object: every privileged or money-moving act."""

from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.system import audit_trail
from itlc.system.schemas import AuditQuery, AuditView

app = Operation("list_audit")


@app.route("/admin/audit", methods=["GET"], allow="admin", query=AuditQuery, returns=Page[AuditView])
def list_audit(query: AuditQuery) -> Found[AuditView]:
    return audit_trail.list_audit(query)
