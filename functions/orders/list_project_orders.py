"""See the orders of one of one's projects."""

from itlc.operation import Operation
from itlc.orders import service
from itlc.orders.schemas import OrderView, ProjectOrderQuery
from itlc.paging import Found, Page
from itlc.projects.service import own_project
from itlc.stores import postgres

app = Operation("list_project_orders")


@app.route(
    "/projects/{project_id}/orders",
    methods=["GET"],
    allow="owner",
    query=ProjectOrderQuery,
    returns=Page[OrderView],
)
def list_project_orders(project_id: str, query: ProjectOrderQuery) -> Found[OrderView]:
    own_project(project_id, app.caller)
    with postgres.orders.read() as db:
        return service.list_project_orders(db, project_id, query)
