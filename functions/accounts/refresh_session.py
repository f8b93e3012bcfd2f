"""Exchange a refresh token for the session's next pair of tokens."""

from itlc.accounts import sessions
from itlc.accounts.schemas import Refresh, TokenPair
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("refresh_session")


@app.route(
    "/sessions/refresh",
    methods=["POST"],
    allow="anyone",
    accepts=Refresh,
    returns=TokenPair,
    status=201,
    store=postgres.users,
    key="none",
    also=(401,),
)
def refresh_session(request: Refresh) -> TokenPair:
    return sessions.not_reused(app.commit(sessions.refresh, request.refresh_token))
