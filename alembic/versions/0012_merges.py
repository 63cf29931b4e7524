"""merges of what jobs trained"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'merges',
        sa.Column('job', sa.String(32), sa.ForeignKey('jobs.id', ondelete='CASCADE'), nullable=False),
        sa.Column('result_of', sa.String(32), sa.ForeignKey('jobs.id', ondelete='CASCADE'), nullable=False),
        sa.Column('of_attempt', sa.Integer(), nullable=False),
        sa.Column('memory_bytes', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('job'),
        sa.UniqueConstraint('result_of'),
    )


def downgrade() -> None:
    op.drop_table('merges')
    # An older release knows no such jobs.
    op.execute("DELETE FROM jobs WHERE task = 'merge'")
