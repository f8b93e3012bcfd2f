"""What was sent to the queues is kept for a while: to be looked for by its id, and by when it was sent."""

from neo4j import Session

STATEMENTS = (
    "CREATE CONSTRAINT sent_event_id IF NOT EXISTS FOR (e:SentEvent) REQUIRE e.id IS UNIQUE",
    "CREATE INDEX sent_event_published_at IF NOT EXISTS FOR (e:SentEvent) ON (e.published_at)",
)


def upgrade(session: Session) -> None:
    """Make constraint and index; what exists already stays."""
    for statement in STATEMENTS:
        session.run(statement).consume()
    session.run("CALL db.awaitIndexes(60)").consume()
