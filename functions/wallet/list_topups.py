"""The top-ups that the caller made or gets."""

from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres
from itlc.wallet import topups
from itlc.wallet.schemas import TopupQuery, TopupView

app = Operation("list_topups")


@app.route("/token-topups", methods=["GET"], allow="user", query=TopupQuery, returns=Page[TopupView])
def list_topups(query: TopupQuery) -> Found[TopupView]:
    with postgres.tokens.read() as db:
        return topups.list_topups(db, query, caller=app.caller)
