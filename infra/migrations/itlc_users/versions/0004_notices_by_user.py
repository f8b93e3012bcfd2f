"""What somebody was told is looked for when they are erased: among the notices of the outbox, by whom they tell."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index(
        "outbox_notices",
        "outbox",
        ["payload"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"payload": "jsonb_path_ops"},
        postgresql_where=sa.text("queue = 'notifications'"),
    )
