"""Take a service off the market; its orders go on."""

from itlc.catalog import service
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("withdraw_service")


@app.route("/services/{service_id}", methods=["DELETE"], allow="owner", status=204, store=postgres.catalog)
def withdraw_service(service_id: int) -> None:
    app.commit(service.withdraw_service, service_id, caller=app.caller, if_match=app.if_match)
