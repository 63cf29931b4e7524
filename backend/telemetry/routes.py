"""A job's telemetry over HTTP: live events, series, log lines."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import Text, cast, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from backend.database import transaction
from backend.dependencies import CurrentUser, SessionDep, signed_in
from backend.jobs import service as jobs
from backend.jobs.tables import JobRow
from backend.telemetry import series
from backend.telemetry.entries import Entry, Position, recorded_entry
from backend.telemetry.hub import Hub
from backend.telemetry.stream import BATCH, Follower
from backend.telemetry.tables import NOT_STEPS, EventRow
from tunescope.events import JobEvent
from tunescope.problems import NotSignedIn
from tunescope.states import TERMINAL

router = APIRouter(prefix="/jobs/{job_id}", tags=["telemetry"])
AttemptQuery = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Of this attempt; the newest if not given.")]
HEARTBEAT_SECONDS = 15.0
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Proxies must pass an event on at once."""


class EventStream(StreamingResponse):
    """Ready-made server-sent events, many to a chunk; FastAPI's own response puts each into words for each reader."""

    media_type = "text/event-stream"


class Series(BaseModel):
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


class Evaluation(BaseModel):
    step: int = Field(description="The step after which the rows kept aside were looked at.")
    loss: float | None = Field(description="Mean loss over them; null where it is no number.")


class Metrics(BaseModel):
    attempt: int
    position: str | None = Field(
        description="Id of the newest event that the series include; follow the events from here."
    )
    last_step: int | None = Field(description="The attempt's newest step, within the range or not.")
    steps_per_point: int = Field(description="Width of the span that a point stands for.")
    steps: list[int] = Field(description="The last step of each point.")
    series: dict[str, Series]
    unknown: dict[str, str] = Field(description="Memory source -> why it could not be read.")
    evaluations: list[Evaluation] = Field(description="Every evaluation within the range.")


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

    def replay(last: Position) -> list[Entry]:
        statement = (
            select(EventRow.attempt, EventRow.sequence, EventRow.kind, cast(EventRow.data, Text))
            .where(
                EventRow.job == job_id,
                tuple_(EventRow.attempt, EventRow.sequence) > tuple_(last.attempt, last.sequence),
            )
            .order_by(EventRow.attempt, EventRow.sequence)
            .limit(BATCH)
        )
        with sessions() as session:
            return [recorded_entry(*row) for row in session.execute(statement).tuples()]

    def ended(last: Position) -> bool:
        with sessions() as session:
            row = session.get(JobRow, job_id)
            return row is None or (row.state in TERMINAL and not replay(last))

    return Follower(replay, ended)


def still_signed_in(request: Request) -> bool:
    """Whether who opened a stream may still have it: sessions end, tokens are revoked, people leave."""
    try:
        with transaction(request.app.state.sessions) as session:
            signed_in(request, session, request.app.state.settings)
    except NotSignedIn:
        return False
    except SQLAlchemyError:
        return True  # unknown now; asked again soon
    return True


@router.get(
    "/events",
    response_class=EventStream,
    responses={200: {"model": JobEvent, "description": "Server-sent events; the data of each is a JobEvent."}},
)
async def events(
    job_id: str,
    request: Request,
    follower: Annotated[Follower, Depends(open_follower)],
    last_event_id: Annotated[str | None, Header(description="The id of the last event that you have.")] = None,
    after: Annotated[
        str | None, Query(alias="last_event_id", max_length=40, description="The same, where no header can be sent.")
    ] = None,
) -> StreamingResponse:
    """Every event of the job as server-sent events; ``Last-Event-ID`` resumes."""
    last = Position.parse(last_event_id or after)
    frames = server_sent(job_id, follower, last, request.app.state.hub, lambda: still_signed_in(request))
    return EventStream(frames, headers=STREAM_HEADERS)


async def server_sent(
    job_id: str, follower: Follower, last: Position, hub: Hub, allowed: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The follower's batches as they go over the wire, with a sign of life now and then; cut off for who is no longer allowed."""
    heard = asked = time.monotonic()
    async with hub.tail(job_id) as tail:
        async for batch in follower.events(last, tail):
            now = time.monotonic()
            if now - asked > HEARTBEAT_SECONDS:
                asked = now
                if not await asyncio.to_thread(allowed):
                    return
            frames = b"".join([entry.frame for entry in batch])
            if frames or now - heard > HEARTBEAT_SECONDS:
                heard = now
                yield frames or b": still here\n\n"
    yield b'event: end\ndata: {"job":"%b"}\n\n' % job_id.encode()


@router.get("/metrics", response_model=Metrics)
def metrics(
    job_id: str,
    session: SessionDep,
    _user: CurrentUser,
    first: Annotated[int | None, Query(alias="from", ge=0, le=2**31, description="First step.")] = None,
    last: Annotated[int | None, Query(alias="to", ge=0, le=2**31, description="Last step.")] = None,
    points: Annotated[int, Query(ge=1, le=10_000, description="So many points at most.")] = 1000,
    attempt: AttemptQuery = None,
) -> Response:
    """Series of at most ``points`` points, each the mean, least and greatest of the steps it stands for.

    An attempt that went on from a checkpoint of an earlier one has the steps up to it from that one.
    """
    row, _ = jobs.get(session, job_id)
    found: dict[str, Any] = series.metrics(session, job_id, attempt or row.attempt, first, last, points)
    return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@router.get("/logs")
def logs(
    job_id: str,
    session: SessionDep,
    _user: CurrentUser,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Lines after this sequence.")] = 0,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The last lines before this sequence.")] = None,
    limit: Annotated[int, Query(ge=1, le=5000, description="So many lines at most.")] = 1000,
    attempt: AttemptQuery = None,
) -> LogLines:
    """Log lines in order: the first ones after ``after``, or with ``before`` the last ones before it."""
    row, _ = jobs.get(session, job_id)
    statement = (
        select(EventRow)
        .where(EventRow.job == job_id, EventRow.attempt == (attempt or row.attempt), EventRow.kind == "log", NOT_STEPS)
        .where(EventRow.sequence > after)
        .order_by(EventRow.sequence if before is None else EventRow.sequence.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(EventRow.sequence < before)
    found = sorted(session.scalars(statement), key=lambda event: event.sequence)
    items = [
        LogLine(sequence=event.sequence, at=event.at, stream=event.data["stream"], line=event.data["line"])
        for event in found
    ]
    return LogLines(items=items, next_after=items[-1].sequence if len(items) == limit and before is None else None)
