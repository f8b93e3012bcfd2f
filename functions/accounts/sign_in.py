"""Begin a session with one's e-mail address and password."""

from itlc.accounts import sessions
from itlc.accounts.credentials import prove
from itlc.accounts.schemas import SignIn, TokenPair
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("sign_in")


@app.route(
    "/sessions",
    methods=["POST"],
    allow="anyone",
    accepts=SignIn,
    returns=TokenPair,
    status=201,
    store=postgres.users,
    key="none",
    also=(401,),
)
def sign_in(request: SignIn) -> TokenPair:
    return app.commit(sessions.begin, prove(request, app.source))
