"""Tell that the API is alive."""

from itlc.operation import Operation
from itlc.system.schemas import HealthView

app = Operation("show_health")


@app.route("/health", methods=["GET"], allow="anyone", returns=HealthView)
def show_health() -> HealthView:
    """Answers without asking any store."""
    return HealthView()
