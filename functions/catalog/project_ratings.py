"""Let the ratings that services show follow those that customers give."""

from itlc import events
from itlc.catalog import ratings
from itlc.operation import Operation
from itlc.stores import postgres

app = Operation("project_ratings")


@app.consumes("ratings")
def project_ratings(event: events.Event) -> None:
    postgres.catalog.write(lambda db: ratings.project(db, app.name, event))
