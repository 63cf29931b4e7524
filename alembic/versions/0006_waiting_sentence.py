"""why a job waits, for programs"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('waiting_sentence', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('jobs', 'waiting_sentence')
