"""the most that a job was measured to hold of a GPU"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('peak_gpu_bytes', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column('jobs', 'peak_gpu_bytes')
