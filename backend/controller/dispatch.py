"""Queued rows become assigned ones, and assigned ones become orders to workers.

The row is the truth: an order that no worker claims is sent again, and one that is claimed twice runs once (the fence).
"""

import logging
import time
from collections.abc import Sequence

from celery import Celery
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.chats.tables import ChatRow
from backend.controller.placement import Assignment, Busy, Waiting, place
from backend.datasets.service import find_dataset, path_of
from backend.jobs.reservation import reservation
from backend.jobs.tables import CHAT, MERGE, JobRow
from backend.jobs.transitions import move
from backend.merges.service import merge_options
from backend.merges.tables import MergeRow
from backend.models.service import reference
from tunescope import wire
from tunescope.events import Failure
from tunescope.problems import Problem
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.states import ACTIVE, FailureReason, JobState
from tunescope.stored_spec import runnable_spec, stored_spec
from tunescope.wire import AttemptOrder, ChatOptions, ChatOrder, DatasetRef, MachineReport, MergeOrder, Order

log = logging.getLogger(__name__)

RESEND_SECONDS = 5.0
ORDER_LIFETIME_SECONDS = 600
"""A queue that nobody reads forgets an order after this time."""


def make_celery(settings: ServerSettings) -> Celery:
    """A Celery app that only sends."""
    app = Celery("tunescope-controller", broker=wire.broker_url(settings.redis_url), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
    )
    return app


def waiting_job(row: JobRow, merge: MergeRow | None) -> Waiting:
    spec = stored_spec(row.spec)
    return Waiting(
        job=row.id,
        owner=row.owner_id,
        priority=row.priority,
        created_at=row.created_at,
        need_bytes=merge.memory_bytes if merge else reservation(row),
        gpus=0 if merge else spec.parallelism.gpus,
        shares=spec.placement.share_gpu,
    )


def busy_job(row: JobRow) -> Busy:
    return Busy(
        owner=row.owner_id,
        machine=row.machine or "",
        gpus=tuple(row.gpus),
        job=row.id,
        reserve_bytes=reservation(row),
        shares=stored_spec(row.spec).placement.share_gpu,
    )


def assign_queued(session: Session, machines: Sequence[MachineReport], unheard: Sentence | None = None) -> int:
    """Give queued jobs their places, and write down why the others wait. Returns how many got one.

    ``unheard``: why there are no machines, where it is another reason than that no worker runs.
    """
    queued = {row.id: row for row in session.scalars(select(JobRow).where(JobRow.state == JobState.QUEUED))}
    if not queued:
        return 0
    active = session.scalars(select(JobRow).where(JobRow.state.in_(ACTIVE)))
    busy = [busy_job(row) for row in active if row.machine]
    merges = {merge.job: merge for merge in session.scalars(select(MergeRow).where(MergeRow.job.in_(queued)))}
    plan = place([waiting_job(row, merges.get(row.id)) for row in queued.values()], machines, busy)
    assigned = sum(assign(session, queued[assignment.job], assignment) for assignment in plan.assignments)
    for job, found in plan.reasons.items():
        reason = unheard or found
        # By its text, whose bytes are rounded: what others hold changes a little with every report of a machine.
        if queued[job].waiting_because != reason.text or queued[job].waiting_sentence is None:
            session.execute(
                update(JobRow)
                .where(JobRow.id == job, JobRow.state == JobState.QUEUED)
                .values(waiting_because=reason.text, waiting_sentence=reason.model_dump()),
                execution_options={"synchronize_session": False},
            )
    return assigned


def assign(session: Session, row: JobRow, assignment: Assignment) -> bool:
    """Move a row to assigned under a new fence; False if it was cancelled meanwhile."""
    moved = move(
        session, row.id, JobState.ASSIGNED, fence=row.fence, machine=assignment.machine, gpus=list(assignment.gpus)
    )
    if moved:
        raise_fence = update(JobRow).where(JobRow.id == row.id, JobRow.fence == row.fence).values(fence=row.fence + 1)
        session.execute(raise_fence, execution_options={"synchronize_session": False})
        log.info("job %s goes to %s %s", row.id, assignment.machine, ", ".join(assignment.gpus))
    return moved


def make_order(session: Session, settings: ServerSettings, row: JobRow) -> AttemptOrder:
    """Everything a worker needs to run a row's attempt. Raises Problem if its data set or model is gone, or its spec refused by now."""
    spec = runnable_spec(row.spec)
    model = reference(session, settings, spec.model)
    if row.task == CHAT:
        chat = session.get_one(ChatRow, row.id)
        options = ChatOptions(result=chat.result, context_tokens=chat.context_tokens, idle_seconds=chat.idle_seconds)
        return ChatOrder(
            job=row.id, attempt=row.attempt, fence=row.fence, spec=spec, gpus=row.gpus, model=model, chat=options
        )
    if row.task == MERGE:
        return MergeOrder(
            job=row.id, attempt=row.attempt, fence=row.fence, spec=spec, model=model, merge=merge_options(session, row)
        )
    dataset = find_dataset(session, spec.data.dataset)
    if dataset is None:
        raise MissingDataset(say("dataset_deleted", name=spec.data.dataset), say("upload_again"))
    path = path_of(settings, dataset).relative_to(settings.data_dir)
    return Order(
        job=row.id,
        attempt=row.attempt,
        fence=row.fence,
        spec=spec,
        gpus=row.gpus,
        dataset=DatasetRef(name=dataset.name, path=str(path), sha256=dataset.sha256, rows=dataset.rows),
        model=model,
        resume_from_attempt=row.resume_from_attempt,
    )


class MissingDataset(Problem):
    """The data set of a queued job is gone."""


class Dispatcher:
    """Sends orders of assigned rows; remembers which it sent and when."""

    def __init__(self, settings: ServerSettings, celery: Celery) -> None:
        self._settings = settings
        self._celery = celery
        self._sent: dict[tuple[str, int], float] = {}

    def send_assigned(self, session: Session) -> None:
        """Send the order of every assigned row that was not sent, or not claimed since. Raises OperationalError."""
        rows = list(session.scalars(select(JobRow).where(JobRow.state == JobState.ASSIGNED)))
        now = time.monotonic()
        self._sent = {key: at for key, at in self._sent.items() if key in {(row.id, row.fence) for row in rows}}
        for row in rows:
            if now - self._sent.get((row.id, row.fence), -RESEND_SECONDS) < RESEND_SECONDS:
                continue
            try:
                order = make_order(session, self._settings, row)
            except Problem as problem:
                fail_unrunnable(session, row, problem)
                continue
            self._send(row, order)
            self._sent[(row.id, row.fence)] = now

    def _send(self, row: JobRow, order: AttemptOrder) -> None:
        self._celery.send_task(  # pyright: ignore[reportUnknownMemberType]
            wire.task_of(order),
            args=[order.model_dump(mode="json")],
            queue=wire.queue(row.machine or ""),
            expires=ORDER_LIFETIME_SECONDS,
            ignore_result=True,
            retry=False,
        )


def fail_unrunnable(session: Session, row: JobRow, problem: Problem) -> None:
    reason = FailureReason.INVALID_DATASET if isinstance(problem, MissingDataset) else FailureReason.INVALID_MODEL
    failure = Failure(
        reason=reason,
        detail=problem.detail,
        advice=problem.fix,
        detail_sentence=problem.detail_sentence,
        advice_sentence=problem.fix_sentence,
    )
    move(session, row.id, JobState.FAILED, fence=row.fence, failure=failure.model_dump(mode="json"))
