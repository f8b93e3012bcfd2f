"""Put on record what administrators did in MongoDB and Neo4j."""

from itlc.events import Event
from itlc.operation import Operation
from itlc.stores import postgres
from itlc.system import audit_trail

app = Operation("record_audit")


@app.consumes("audit")
def record_audit(event: Event) -> None:
    act = audit_trail.read_act(event)
    postgres.users.write(lambda db: audit_trail.record(db, app.name, event, act))
