"""Have a token mailed with which to set a new password. The answer is the same whether or not the address is known."""

from itlc.accounts.recovery import request_reset
from itlc.accounts.schemas import RequestPasswordReset
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("request_password_reset")


@app.route(
    "/password-resets",
    methods=["POST"],
    allow="anyone",
    accepts=RequestPasswordReset,
    status=202,
    store=postgres.users,
    key="none",
)
def request_password_reset(request: RequestPasswordReset) -> None:
    app.commit(request_reset, request, source=app.source)
