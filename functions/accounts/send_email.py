"""Send the mails that wait in the queue `emails`.

No transaction is held while SES works: the token's hash is stored before, and that the mail went out is noted after
it. Cut off between, the next attempt sends another token, in the place of the first.
"""

from itlc import events
from itlc.accounts import mails, recovery
from itlc.operation import Operation
from itlc.stores import inbox, postgres

app = Operation("send_email")


@app.consumes("emails")
def send_email(event: events.Event) -> None:
    mail = postgres.users.write(lambda db: recovery.prepare_mail(db, app.name, event))
    if mail is not None:
        mails.send(mail)
    postgres.users.write(lambda db: inbox.first_time(db, app.name, event))
