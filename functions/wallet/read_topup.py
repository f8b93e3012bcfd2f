"""One top-up, for whoever made it or gets it."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.wallet import topups
from itlc.wallet.schemas import TopupView

app = Operation("read_topup")


@app.route("/token-topups/{topup_id}", methods=["GET"], allow="user", returns=TopupView)
def read_topup(topup_id: int) -> TopupView:
    with postgres.tokens.read() as db:
        return topups.read_topup(db, topup_id, caller=app.caller)
