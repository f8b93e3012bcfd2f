"""Tell which of the stores and queues can be reached."""

from itlc.operation import Operation, Reply
from itlc.system.readiness import readiness
from itlc.system.schemas import ReadinessView

app = Operation("show_readiness")


@app.route("/ready", methods=["GET"], allow="anyone", returns=ReadinessView, also=(503,))
def show_readiness() -> Reply:
    """Names the seven stores and every queue with its state; 503 with the same body if one is away."""
    found = readiness()
    if found.status == "ready":
        return Reply(found)
    return Reply(found, status=503, headers={"Retry-After": "5"})
