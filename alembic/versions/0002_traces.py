"""exact traces of specs, and which one a job has"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('traces',
    sa.Column('key', sa.String(length=64), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('spec', sa.JSON(), nullable=False),
    sa.Column('config', sa.JSON(), nullable=False),
    sa.Column('versions', sa.JSON(), nullable=False),
    sa.Column('formula_bytes', sa.BigInteger(), nullable=True),
    sa.Column('trace', sa.JSON(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('sent_to', sa.String(length=255), nullable=True),
    sa.Column('sent_at', sa.Float(), nullable=True),
    sa.Column('asked_at', sa.Float(), nullable=False),
    sa.Column('answered_at', sa.Float(), nullable=True),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_traces'))
    )
    op.create_index('ix_traces_state', 'traces', ['state'], unique=False)
    op.add_column('jobs', sa.Column('trace_key', sa.String(length=64), nullable=True))
    op.add_column('jobs', sa.Column('trace_unknown_because', sa.Text(), nullable=True))
    op.create_index(op.f('ix_jobs_trace_key'), 'jobs', ['trace_key'], unique=False)


def downgrade() -> None:
    # Not in batch mode: on SQLite that would drop and make again the table that events and steps hang on, and they with it.
    op.drop_index(op.f('ix_jobs_trace_key'), table_name='jobs')
    op.drop_column('jobs', 'trace_unknown_because')
    op.drop_column('jobs', 'trace_key')
    op.drop_index('ix_traces_state', table_name='traces')
    op.drop_table('traces')
