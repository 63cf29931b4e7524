"""What tests put into the system: specs and worker events, true by default."""

from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from backend.jobs.transitions import move
from tunescope.events import LogEvent, MemoryFigure, StateEvent, StepEvent
from tunescope.states import JobState

TOTAL_STEPS = 1000


def spec(**sections: Any) -> dict[str, Any]:
    return {
        "name": "first run",
        "model": {"id": "smollm2-135m-instruct", "source": "library"},
        "data": {"dataset": "vram-questions"},
        **sections,
    }


def state(job: str, sequence: int, to: JobState, attempt: int = 1) -> StateEvent:
    return StateEvent(job=job, attempt=attempt, sequence=sequence, at=1000.0 + sequence, state=to)


def line(job: str, sequence: int, text: str = "a line", attempt: int = 1) -> LogEvent:
    return LogEvent(job=job, attempt=attempt, sequence=sequence, at=1000.0 + sequence, stream="trainer", line=text)


def step(job: str, sequence: int, number: int, loss: float | None = 2.0, attempt: int = 1) -> StepEvent:
    return StepEvent(
        job=job,
        attempt=attempt,
        sequence=sequence,
        at=1000.0 + sequence,
        step=number,
        total_steps=TOTAL_STEPS,
        epoch=number / TOTAL_STEPS,
        loss=loss,
        learning_rate=1e-4,
        grad_norm=1.0,
        tokens=512,
        tokens_per_second=256.0,
        step_seconds=2.0,
        meter_seconds=0.02,
        memory=[
            MemoryFigure(source="host.rss", bytes=1_000_000 + number, peak_bytes=2_000_000 + number),
            MemoryFigure(source="nvml.device", unknown_because="no GPU on this machine"),
        ],
    )


def assign(sessions: sessionmaker[Session], job: str) -> None:
    """What the controller does when it gives a queued job to a machine."""
    with sessions.begin() as session:
        assert move(session, job, JobState.ASSIGNED, machine="m1", gpus=[])
