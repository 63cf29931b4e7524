"""why there is no estimate, for programs"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('estimate_unknown_problem', sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column('jobs', 'estimate_unknown_problem')
