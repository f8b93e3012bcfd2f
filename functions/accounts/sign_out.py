"""End the session of the access token that is sent."""

from itlc.accounts import sessions
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("sign_out")


@app.route("/sessions/current", methods=["DELETE"], allow="user", status=204, store=postgres.users)
def sign_out() -> None:
    app.commit(sessions.end, app.caller)
