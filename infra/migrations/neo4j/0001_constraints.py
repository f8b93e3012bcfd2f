"""The graph's unique constraints and indexes. Community Edition has no others; the application checks the rest."""

from neo4j import Session

STATEMENTS = (
    "CREATE CONSTRAINT order_id IF NOT EXISTS FOR (o:Order) REQUIRE o.id IS UNIQUE",
    "CREATE CONSTRAINT order_step_id IF NOT EXISTS FOR (s:OrderStep) REQUIRE s.id IS UNIQUE",
    "CREATE INDEX order_step_number IF NOT EXISTS FOR (s:OrderStep) ON (s.order_id, s.step_number)",
    "CREATE CONSTRAINT outbox_id IF NOT EXISTS FOR (o:Outbox) REQUIRE o.id IS UNIQUE",
    "CREATE INDEX outbox_claimed_until IF NOT EXISTS FOR (o:Outbox) ON (o.claimed_until)",
    "CREATE CONSTRAINT idempotency_key IF NOT EXISTS FOR (k:IdempotencyKey) REQUIRE k.identity IS UNIQUE",
    "CREATE CONSTRAINT request_count_id IF NOT EXISTS FOR (c:RequestCount) REQUIRE c.id IS UNIQUE",
    "CREATE INDEX request_count_window IF NOT EXISTS FOR (c:RequestCount) ON (c.window_end)",
    "CREATE INDEX idempotency_expiry IF NOT EXISTS FOR (k:IdempotencyKey) ON (k.expires_at)",
)


def upgrade(session: Session) -> None:
    """Make constraints and indexes; what exists already stays."""
    for statement in STATEMENTS:
        session.run(statement).consume()
    session.run("CALL db.awaitIndexes(60)").consume()
