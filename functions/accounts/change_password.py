"""Change one's password, which ends every other session."""

from itlc.accounts import credentials
from itlc.accounts.schemas import ChangePassword
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("change_password")


@app.route(
    "/users/me/password",
    methods=["PUT"],
    allow="user",
    accepts=ChangePassword,
    status=204,
    store=postgres.users,
    live_session=True,
)
def change_password(request: ChangePassword) -> None:
    change = credentials.prove_change(request, app.caller)
    app.commit(credentials.change_password, change, caller=app.caller, if_match=app.if_match)
