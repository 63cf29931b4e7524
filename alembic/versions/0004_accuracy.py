"""predicted and measured memory of every job that was measured"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('accuracy',
    sa.Column('job', sa.String(length=32), nullable=False),
    sa.Column('at', sa.Float(), nullable=False),
    sa.Column('device', sa.String(length=200), nullable=False),
    sa.Column('on_gpu', sa.Boolean(), nullable=False),
    sa.Column('step', sa.Integer(), nullable=False),
    sa.Column('summary', sa.JSON(), nullable=False),
    sa.Column('comparison', sa.JSON(), nullable=False),
    sa.Column('predicted_bytes', sa.BigInteger(), nullable=False),
    sa.Column('measured_bytes', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['job'], ['jobs.id'], name=op.f('fk_accuracy_job_jobs'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job', name=op.f('pk_accuracy'))
    )
    op.create_index('ix_accuracy_device', 'accuracy', ['on_gpu', 'device', 'at'], unique=False)
    op.create_index('ix_accuracy_at', 'accuracy', ['at', 'job'], unique=False)


def downgrade() -> None:
    op.drop_index('ix_accuracy_at', table_name='accuracy')
    op.drop_index('ix_accuracy_device', table_name='accuracy')
    op.drop_table('accuracy')
