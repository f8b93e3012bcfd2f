"""What an applied message said, beside its id. Of those that were applied before, nobody knows it any more."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("inbox", sa.Column("fingerprint", sa.LargeBinary(), nullable=True))
