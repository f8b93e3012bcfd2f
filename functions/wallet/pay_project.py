"""Pay for a completed project: all its completed, unpaid orders at once, or none."""

from itlc.operation import Operation, Reply
from itlc.stores import postgres
from itlc.wallet import payments
from itlc.wallet.schemas import PaidProject, PayingProject

app = Operation("pay_project")


@app.route(
    "/projects/{project_id}/payment",
    methods=["POST"],
    allow="owner",
    returns=PaidProject | PayingProject,
    status=201,
    store=postgres.orders,
    key="required",
    live_session=True,
    also=(202, 402),
)
def pay_project(project_id: str) -> Reply:
    return payments.pay_project(project_id, caller=app.caller, key=app.required_key)
