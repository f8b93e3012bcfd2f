"""What is somebody's is looked for when they are erased: the bids on services of theirs, and how their projects
stand."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("bidding_of_seller", "bidding", ["provider_user_id", "created_at", "id"], unique=False)
    op.create_index("project_progress_of_owner", "project_progress", ["owner_id"], unique=False)
