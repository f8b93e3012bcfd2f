"""The caller's statement: how their tokens came and went."""

from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import postgres
from itlc.wallet import service
from itlc.wallet.schemas import LedgerEntry, LedgerQuery

app = Operation("list_ledger")


@app.route("/users/me/ledger", methods=["GET"], allow="user", query=LedgerQuery, returns=Page[LedgerEntry])
def list_ledger(query: LedgerQuery) -> Found[LedgerEntry]:
    with postgres.users.read() as db:
        return service.list_ledger(db, query, caller=app.caller)
