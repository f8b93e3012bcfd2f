"""Change one's name or e-mail address."""

from itlc.accounts import service
from itlc.accounts.schemas import ChangeMe, UserView
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("change_me")


@app.route(
    "/users/me",
    methods=["PATCH"],
    allow="user",
    accepts=ChangeMe,
    returns=UserView,
    store=postgres.users,
    live_session=True,
    also=(409,),
)
def change_me(request: ChangeMe) -> UserView:
    return app.commit(service.change_me, request, caller=app.caller, if_match=app.if_match)
