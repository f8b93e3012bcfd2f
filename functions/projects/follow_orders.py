"""Let projects stand as their orders do."""

from itlc.events import Event
from itlc.operation import Operation
from itlc.projects import service
from itlc.stores import mongo

app = Operation("follow_orders")


@app.consumes("projects")
def follow_orders(event: Event) -> None:
    mongo.projects.write(lambda db: service.follow_orders(db, event))
