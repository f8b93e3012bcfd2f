"""A full escrow says what it holds, of whom and for whom: both need room for it until it is emptied."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("tokens", "payer_id", "payee_id"):  # not known of those that are full at this moment
        op.add_column("full_escrows", sa.Column(name, sa.Integer(), nullable=True))
    op.create_index("full_escrows_payer", "full_escrows", ["payer_id"])
    op.create_index("full_escrows_payee", "full_escrows", ["payee_id"])
