"""the highest memory that a job was measured to need, by who measured it"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('peaks', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('jobs', 'peaks')
