"""how far a trace is and why there is none, for programs"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('traces', sa.Column('reason_sentence', sa.JSON(), nullable=True))
    op.add_column('jobs', sa.Column('trace_unknown_sentence', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('jobs', 'trace_unknown_sentence')
    op.drop_column('traces', 'reason_sentence')
