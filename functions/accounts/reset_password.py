"""Set a new password with the token from the mail."""

from itlc.accounts import recovery
from itlc.accounts.schemas import ResetPassword
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("reset_password")


@app.route(
    "/password-resets/{token}",
    methods=["POST"],
    allow="anyone",
    accepts=ResetPassword,
    status=204,
    store=postgres.users,
    key="none",
    also=(404,),
)
def reset_password(token: str, request: ResetPassword) -> None:
    app.commit(recovery.reset_password, recovery.prove_token(token, request), source=app.source)
