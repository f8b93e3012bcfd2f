"""Erase me: the account is closed and emptied at once, the other stores follow by the job `erase_user`."""

from itlc.accounts.personal_data import erase_at_once
from itlc.accounts.service import read_me
from itlc.operation import Operation
from itlc.orders.closing import close_account
from itlc.stores import postgres

app = Operation("erase_me")


@app.route("/users/me", methods=["DELETE"], allow="user", status=202, store=postgres.orders, live_session=True)
def erase_me() -> None:
    with postgres.users.read() as db:
        app.if_match.check(read_me(db, app.caller))
    app.commit(close_account, caller=app.caller)
    erase_at_once(app.caller.id)
