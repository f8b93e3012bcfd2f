"""Look through one's own projects."""

from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.projects import service
from itlc.projects.schemas import ProjectQuery, ProjectView
from itlc.stores import mongo

app = Operation("list_projects")


@app.route("/projects", methods=["GET"], allow="user", query=ProjectQuery, returns=Page[ProjectView])
def list_projects(query: ProjectQuery) -> Found[ProjectView]:
    with mongo.projects.read() as db:
        return service.list_projects(db, query, caller=app.caller)
