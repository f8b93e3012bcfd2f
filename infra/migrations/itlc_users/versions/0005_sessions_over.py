"""What has had its time is looked for by when it ended: sessions, spent refresh tokens, used password resets."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index(
        "sessions_ended", "sessions", ["ended_at"], unique=False, postgresql_where=sa.text("ended_at IS NOT NULL")
    )
    op.create_index(
        "refresh_tokens_spent",
        "refresh_tokens",
        ["spent_at"],
        unique=False,
        postgresql_where=sa.text("spent_at IS NOT NULL"),
    )
    op.create_index(
        "password_resets_used",
        "password_resets",
        ["used_at"],
        unique=False,
        postgresql_where=sa.text("used_at IS NOT NULL"),
    )
