"""Each closing of a project stands by itself: who undoes theirs leaves the others'."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_constraint("closed_projects_pkey", "closed_projects", type_="primary")
    op.create_primary_key("closed_projects_pkey", "closed_projects", ["project_id", "closed_at"])
