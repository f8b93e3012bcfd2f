"""Everything that is held about me, in one document."""

from itlc.accounts.export import export
from itlc.accounts.schemas import ExportView
from itlc.operation import Operation

app = Operation("export_me")


@app.route("/users/me/export", methods=["GET"], allow="user", returns=ExportView, live_session=True)
def export_me() -> ExportView:
    return export(app.caller.id)
