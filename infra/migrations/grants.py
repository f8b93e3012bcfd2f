"""What the application's role may do with a database's tables."""

from alembic import op


def grant(database: str, append_only: tuple[str, ...] = ()) -> None:
    """Let the role `<database>_app` read and write the rows of every table, and only read and insert those of the
    tables in `append_only`. The role is made with the server (infra/local/postgres.py; on AWS see the runbook)."""
    role = f"{database}_app"
    op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    op.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}")
    op.execute(f"REVOKE ALL ON alembic_version FROM {role}")
    for table in append_only:
        op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role}")
