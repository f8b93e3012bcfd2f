"""Top up tokens, for oneself or, as a provider, for another; a queue credits them."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.wallet import topups
from itlc.wallet.schemas import TopUp, TopupView

app = Operation("top_up")


@app.route(
    "/token-topups",
    methods=["POST"],
    allow="user",
    accepts=TopUp,
    returns=TopupView,
    status=202,
    store=postgres.tokens,
    key="required",
    location="token-topups/{id}",
)
def top_up(request: TopUp) -> TopupView:
    user_id = topups.recipient(request, caller=app.caller)
    return app.commit(topups.top_up, request, user_id=user_id, caller=app.caller)
