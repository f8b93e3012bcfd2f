"""How many tokens the caller has."""

from itlc.operation import Operation
from itlc.stores import postgres
from itlc.wallet import service
from itlc.wallet.schemas import Balance

app = Operation("show_balance")


@app.route("/users/me/balance", methods=["GET"], allow="user", returns=Balance)
def show_balance() -> Balance:
    with postgres.users.read() as db:
        return service.show_balance(db, app.caller)
