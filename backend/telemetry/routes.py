"""A job's telemetry over HTTP: live events, series, log lines."""

import time
from collections.abc import AsyncIterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from sqlalchemy import select, tuple_

from backend.database import transaction
from backend.dependencies import CurrentUser, SessionDep, signed_in
from backend.jobs import service as jobs
from backend.telemetry import series
from backend.telemetry.stream import BATCH, HEARTBEAT_SECONDS, Follower, Position, position_of
from backend.telemetry.tables import EventRow
from tunescope.events import JobEvent, job_event
from tunescope.states import TERMINAL

router = APIRouter(prefix="/jobs/{job_id}", tags=["telemetry"])


class Series(BaseModel):
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


class Metrics(BaseModel):
    attempt: int
    steps: list[int]
    series: dict[str, Series]
    unknown: dict[str, str]


class LogLine(BaseModel):
    sequence: int
    at: float
    stream: str
    line: str


class LogLines(BaseModel):
    items: list[LogLine]
    next_after: int | None


def open_follower(request: Request, job_id: str) -> Follower:
    """Check who asks before the answer begins, and hold no database connection while the stream is open."""
    sessions = request.app.state.sessions
    with transaction(sessions) as session:
        signed_in(request, session, request.app.state.settings)
        jobs.get(session, job_id)

    def replay(last: Position) -> list[JobEvent]:
        statement = (
            select(EventRow.data)
            .where(
                EventRow.job == job_id,
                tuple_(EventRow.attempt, EventRow.sequence) > tuple_(last.attempt, last.sequence),
            )
            .order_by(EventRow.attempt, EventRow.sequence)
            .limit(BATCH)
        )
        with sessions() as session:
            return [job_event.validate_python(data) for data in session.scalars(statement)]

    def ended(last: Position) -> bool:
        with sessions() as session:
            row, _ = jobs.get(session, job_id)
            return row.state in TERMINAL and not replay(last)

    return Follower(job_id, replay, ended, request.app.state.async_redis)


@router.get("/events", response_class=EventSourceResponse)
async def events(
    job_id: str,
    follower: Annotated[Follower, Depends(open_follower)],
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[str | None, Query(alias="last_event_id", max_length=40)] = None,
) -> AsyncIterable[JobEvent]:
    """Every event of the job as server-sent events; ``Last-Event-ID`` resumes."""
    heard = time.monotonic()
    async for event in follower.events(Position.parse(last_event_id or after)):
        if event is not None:
            heard = time.monotonic()
            yield ServerSentEvent(data=event, id=str(position_of(event)), event=event.kind)  # pyright: ignore[reportReturnType]
        elif time.monotonic() - heard > HEARTBEAT_SECONDS:
            heard = time.monotonic()
            yield ServerSentEvent(comment="still here")  # pyright: ignore[reportReturnType]
    yield ServerSentEvent(data={"job": job_id}, event="end")  # pyright: ignore[reportReturnType]


@router.get("/metrics")
def metrics(
    job_id: str,
    session: SessionDep,
    _user: CurrentUser,
    first: Annotated[int | None, Query(alias="from", ge=0, le=2**31)] = None,
    last: Annotated[int | None, Query(alias="to", ge=0, le=2**31)] = None,
    points: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Metrics:
    row, _ = jobs.get(session, job_id)
    found: dict[str, Any] = series.metrics(session, job_id, attempt or row.attempt, first, last, points)
    return Metrics.model_validate(found)


@router.get("/logs")
def logs(
    job_id: str,
    session: SessionDep,
    _user: CurrentUser,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> LogLines:
    row, _ = jobs.get(session, job_id)
    statement = (
        select(EventRow)
        .where(EventRow.job == job_id, EventRow.attempt == (attempt or row.attempt), EventRow.kind == "log")
        .where(EventRow.sequence > after)
        .order_by(EventRow.sequence)
        .limit(limit)
    )
    items = [
        LogLine(sequence=event.sequence, at=event.at, stream=event.data["stream"], line=event.data["line"])
        for event in session.scalars(statement)
    ]
    return LogLines(items=items, next_after=items[-1].sequence if len(items) == limit else None)
