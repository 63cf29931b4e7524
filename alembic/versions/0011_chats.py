"""chats with what a job trained"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('jobs', sa.Column('task', sa.String(10), nullable=False, server_default='train'))
    op.create_table(
        'chats',
        sa.Column('job', sa.String(32), sa.ForeignKey('jobs.id', ondelete='CASCADE'), nullable=False),
        sa.Column('result_of', sa.String(32), sa.ForeignKey('jobs.id', ondelete='CASCADE'), nullable=False),
        sa.Column('result', sa.String(300), nullable=False),
        sa.Column('context_tokens', sa.Integer(), nullable=False),
        sa.Column('idle_seconds', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('job'),
    )
    op.create_index('ix_chats_result_of', 'chats', ['result_of'])
    op.create_table(
        'chat_messages',
        sa.Column('job', sa.String(32), sa.ForeignKey('jobs.id', ondelete='CASCADE'), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('said', sa.JSON(), nullable=False),
        sa.Column('at', sa.Float(), nullable=False),
        sa.Column('taken', sa.Boolean(), nullable=False),
        sa.Column('stopped', sa.Boolean(), nullable=False),
        sa.Column('ended', sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint('job', 'number'),
    )


def downgrade() -> None:
    op.drop_table('chat_messages')
    op.drop_index('ix_chats_result_of', 'chats')
    op.drop_table('chats')
    # An older release knows no other jobs than trainings.
    op.execute("DELETE FROM jobs WHERE task <> 'train'")
    op.drop_column('jobs', 'task')
