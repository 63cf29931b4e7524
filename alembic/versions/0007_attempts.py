"""how earlier attempts of a job ended"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'attempts',
        sa.Column('job', sa.String(32), sa.ForeignKey('jobs.id', ondelete='CASCADE'), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('state', sa.String(20), nullable=False),
        sa.Column('failure', sa.JSON(), nullable=True),
        sa.Column('machine', sa.String(255), nullable=True),
        sa.Column('gpus', sa.JSON(), nullable=False),
        sa.Column('step', sa.Integer(), nullable=False),
        sa.Column('total_steps', sa.Integer(), nullable=True),
        sa.Column('resume_from_attempt', sa.Integer(), nullable=True),
        sa.Column('started_at', sa.Float(), nullable=True),
        sa.Column('finished_at', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('job', 'attempt'),
    )


def downgrade() -> None:
    op.drop_table('attempts')
