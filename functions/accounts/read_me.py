"""Who am I."""

from itlc.accounts import service
from itlc.accounts.schemas import UserView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("read_me")


@app.route("/users/me", methods=["GET"], allow="user", returns=UserView)
def read_me() -> UserView:
    with postgres.users.read() as db:
        return service.read_me(db, app.caller)
