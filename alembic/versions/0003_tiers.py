"""charts of a million steps: figures of the steps summed up at several widths, and kept only once"""

import sqlalchemy as sa
from alembic import op

from backend.telemetry.tiers import Attempt, close_chunks

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

NOT_STEPS = sa.text("kind <> 'step'")
BATCH = 10_000


def upgrade() -> None:
    op.create_index(
        'ix_events_not_steps',
        'events',
        ['job', 'attempt', 'sequence'],
        sqlite_where=NOT_STEPS,
        postgresql_where=NOT_STEPS,
    )
    op.create_table(
        'tiers',
        sa.Column('job', sa.String(length=32), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('level', sa.Integer(), nullable=False),
        sa.Column('chunk', sa.Integer(), nullable=False),
        sa.Column('figures', sa.JSON(), nullable=False),
        sa.Column('unknown', sa.JSON(), nullable=False),
        sa.Column('buckets', sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(['job'], ['jobs.id'], name=op.f('fk_tiers_job_jobs'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('job', 'attempt', 'level', 'chunk', name=op.f('pk_tiers')),
    )
    op.drop_table('steps')
    op.create_table(
        'steps',
        *key(),
        sa.Column('sequence', sa.Integer(), nullable=False),
        *constraints(),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO steps (job, attempt, step, sequence) SELECT job, attempt, {figure('step', 'INTEGER')}, min(sequence)"
        f" FROM events WHERE kind = 'step' GROUP BY job, attempt, {figure('step', 'INTEGER')}"
    )
    fill_tiers()


def fill_tiers() -> None:
    """What the recorder would have written, had it known tiers."""
    connection = op.get_bind()
    attempts = connection.execute(sa.text("SELECT job, attempt, max(step) FROM steps GROUP BY job, attempt")).all()
    for job, attempt, highest in attempts:
        for first in range(0, highest + 1, BATCH):
            wanted = {'job': job, 'attempt': attempt, 'first': first, 'last': first + BATCH - 1}
            steps = connection.scalars(
                sa.text(
                    "SELECT step FROM steps WHERE job = :job AND attempt = :attempt AND step BETWEEN :first AND :last"
                ),
                wanted,
            ).all()
            close_chunks(Attempt(connection, job, attempt), steps, highest)


def downgrade() -> None:
    scalars = ('loss', 'learning_rate', 'grad_norm', 'tokens_per_second', 'step_seconds')
    columns = ', '.join(figure(name, 'FLOAT') + f' AS {name}' for name in scalars)
    op.drop_table('tiers')
    # The constraints' names are taken until the present table is gone.
    op.execute(
        f"CREATE TABLE steps_before AS SELECT steps.job, steps.attempt, steps.step, {columns}, {memory()} AS memory"
        f" FROM steps"
        f" JOIN events ON events.job = steps.job AND events.attempt = steps.attempt AND events.sequence = steps.sequence"
    )
    op.drop_table('steps')
    op.create_table(
        'steps',
        *key(),
        *(sa.Column(name, sa.Float(), nullable=True) for name in scalars),
        sa.Column('memory', sa.JSON(), nullable=False),
        *constraints(),
    )
    op.execute("INSERT INTO steps SELECT * FROM steps_before")
    op.drop_table('steps_before')
    op.drop_index('ix_events_not_steps', table_name='events')


def key() -> list[sa.Column]:
    return [
        sa.Column('job', sa.String(length=32), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('step', sa.Integer(), nullable=False),
    ]


def constraints() -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(['job'], ['jobs.id'], name=op.f('fk_steps_job_jobs'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('job', 'attempt', 'step', name=op.f('pk_steps')),
    ]


def figure(name: str, kind: str) -> str:
    """SQL for a number within an event's JSON."""
    if op.get_bind().dialect.name == 'postgresql':
        return f"CAST(data ->> '{name}' AS {kind})"
    return f"json_extract(data, '$.{name}')"


def memory() -> str:
    return "data -> 'memory'" if op.get_bind().dialect.name == 'postgresql' else "json_extract(data, '$.memory')"
