"""The keys of somebody's refunds are looked for when they are erased."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("refunds_with_key", "refunds", ["key_caller"], unique=False, postgresql_where=sa.text("key <> ''"))
