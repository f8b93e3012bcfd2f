"""Become a user of the marketplace."""

from itlc.accounts.credentials import hash_for, register
from itlc.accounts.schemas import Register, UserView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("register_user")


@app.route(
    "/users",
    methods=["POST"],
    allow="anyone",
    accepts=Register,
    returns=UserView,
    status=201,
    store=postgres.users,
    location="users/me",
    secret_body=True,
)
def register_user(request: Register) -> UserView:
    return app.commit(register, request, password=hash_for(request))
