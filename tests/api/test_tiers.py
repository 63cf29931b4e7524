"""Charts read sums kept at several widths; they must be what reading every step would give."""

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from backend.jobs.tables import AttemptRow, JobRow
from backend.telemetry import tiers
from backend.telemetry.recording import Recording
from backend.telemetry.series import metrics
from backend.telemetry.tables import TierRow
from backend.telemetry.told import as_told
from tests.api.make import spec, step
from tunescope.events import CheckpointEvent, EvaluationEvent, MemoryFigure, PhaseMemory, StepEvent

Sessions = sessionmaker[Session]


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of 4 spans instead of 64, so that a few hundred steps reach level 3."""
    monkeypatch.setattr(tiers, "CHUNK", 4)
    yield


def told(job: str, sequence: int, number: int, attempt: int, dice: random.Random) -> StepEvent:
    event = step(job, sequence, number, dice.choice([None, dice.uniform(0, 5)]), attempt)
    event.grad_norm = dice.uniform(0, 1e6)
    event.memory.append(MemoryFigure(source="torch.allocated", bytes=dice.randint(0, 10**12)))
    if number % 7 == 0:
        event.phases = [PhaseMemory(phase="backward", seconds=1, source="torch.allocated", peak_bytes=number)]
    return event


def naive(events: list[StepEvent], first: int, last: int, width: int) -> tuple[list[int], dict[str, list[Any]]]:
    """Last step of each span, and for each figure (mean, min, max) or None: by reading every step."""
    spans: defaultdict[int, list[StepEvent]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.step):
        if first <= event.step <= last:
            spans[event.step // width].append(event)
    wanted = {
        "loss": lambda event: event.loss,
        "grad_norm": lambda event: event.grad_norm,
        "memory.torch.allocated": lambda event: event.memory[2].bytes,
        "memory_peak.host.rss": lambda event: event.memory[0].peak_bytes,
        "phase_peak.torch.allocated.backward": lambda event: event.phases[0].peak_bytes if event.phases else None,
    }
    columns: dict[str, list[Any]] = {name: [] for name in wanted}
    for span in spans.values():
        for name, figure in wanted.items():
            values = [value for event in span if (value := figure(event)) is not None]
            columns[name].append((sum(values) / len(values), min(values), max(values)) if values else None)
    return [span[-1].step for span in spans.values()], columns


def check(session: Session, events: list[StepEvent], attempt: int, first: int, last: int, points: int) -> None:
    """``events``: the steps of the run that ``attempt`` is or went on with."""
    found = metrics(session, events[0].job, attempt, first, last, points)
    width = found["steps_per_point"]
    steps, columns = naive(events, first, last, width)
    assert list(found["steps"]) == steps
    assert len(steps) <= points
    for name, column in columns.items():
        if all(point is None for point in column):
            assert name not in found["series"] or not (found["series"][name]["mean"] > -1).any()
            continue
        series = found["series"][name]
        for index, point in enumerate(column):
            if point is None:
                assert series["mean"][index] != series["mean"][index]  # not a number: not told
                continue
            mean, least, greatest = point
            assert series["mean"][index] == pytest.approx(mean, rel=1e-12)
            assert (series["min"][index], series["max"][index]) == (least, greatest)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), count=st.integers(1, 400))
@pytest.mark.usefixtures("small_chunks")
def test_tiers_equal_reading_every_step(member: TestClient, sessions: Sessions, seed: int, count: int) -> None:
    """Two attempts, the second resuming in the middle, in batches of any size that are delivered again now and then."""
    dice = random.Random(seed)
    job = member.post("/api/jobs", json=spec()).json()["id"]
    middle = dice.randint(1, count)
    events = [told(job, number, number, 1, dice) for number in range(1, count + 1)]
    events += [told(job, 2 + number - middle, number, 2, dice) for number in range(middle, count + 1)]
    recording = Recording()
    at = 0
    while at < len(events):
        end = at + dice.choice([1, 3, 17, 120])
        with sessions.begin() as session:
            recording.record(session, as_told(events[max(0, at - dice.choice([0, 0, 5, 60])) : end]))
        if dice.random() < 0.2:
            recording = Recording()  # a controller that started again
        at = end
    runs = {attempt: [event for event in events if event.attempt == attempt] for attempt in (1, 2)}
    if dice.random() < 0.5:
        go_on(sessions, job, attempt=2, after=1)
        runs[2] = [event for event in runs[1] if event.step < middle] + runs[2]
    with sessions() as session:
        for _ in range(6):
            first = dice.randint(0, count)
            attempt = dice.choice([1, 2])
            check(session, runs[attempt], attempt, first, dice.randint(first, count + 2), dice.choice([1, 7, 40]))


def go_on(sessions: Sessions, job: str, attempt: int, after: int) -> None:
    """``attempt`` is the newest, and began with the last checkpoint of the attempt ``after``."""
    with sessions.begin() as session:
        row = session.get_one(JobRow, job)
        ended = AttemptRow(job=job, attempt=row.attempt, state="failed", gpus=[], step=1, finished_at=1.0)
        ended.resume_from_attempt = row.resume_from_attempt
        session.add(ended)
        row.attempt, row.resume_from_attempt = attempt, after


def test_a_run_keeps_its_steps_when_it_goes_on_in_another_attempt(member: TestClient, sessions: Sessions) -> None:
    """Three attempts: the second goes on after step 4, the third, which has not taken a step yet, after step 6."""
    job = member.post("/api/jobs", json=spec()).json()["id"]
    events: list[Any] = [step(job, number, number, 1.0) for number in range(1, 6)]
    events.append(CheckpointEvent(job=job, attempt=1, sequence=6, at=1.0, step=4, path="checkpoint-4"))
    events += [EvaluationEvent(job=job, attempt=1, sequence=3 + at, at=1.0, step=at, loss=at) for at in (4, 5)]
    events += [step(job, number - 4, number, 2.0, attempt=2) for number in range(5, 9)]
    events.append(CheckpointEvent(job=job, attempt=2, sequence=5, at=1.0, step=6, path="checkpoint-6"))
    with sessions.begin() as session:
        Recording().record(session, as_told(events))
    go_on(sessions, job, attempt=2, after=1)
    assert losses(member, job) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2, 8: 2}
    assert member.get(f"/api/jobs/{job}/metrics").json()["evaluations"] == [{"step": 4, "loss": 4}]
    go_on(sessions, job, attempt=3, after=2)
    assert losses(member, job) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2}
    assert losses(member, job, attempt=1) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert losses(member, job, **{"from": 4, "to": 5}) == {4: 1, 5: 2}
    with sessions.begin() as session:
        Recording().record(session, as_told([step(job, 1, 7, 3.0, attempt=3)]))
    assert losses(member, job) == {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 3}


def test_a_run_that_found_no_checkpoint_has_nothing_of_the_attempts_before(
    member: TestClient, sessions: Sessions
) -> None:
    """The third attempt was to go on with the second, on a machine that has not its files, and began with step 1."""
    job = member.post("/api/jobs", json=spec()).json()["id"]
    events: list[Any] = [step(job, number, number, 1.0) for number in range(1, 5)]
    events.append(EvaluationEvent(job=job, attempt=1, sequence=5, at=1.0, step=4, loss=1))
    events += [step(job, number - 4, number, 2.0, attempt=2) for number in range(5, 9)]
    events += [step(job, number, number, 3.0, attempt=3) for number in range(1, 5)]
    events.append(EvaluationEvent(job=job, attempt=3, sequence=5, at=1.0, step=4, loss=3))
    with sessions.begin() as session:
        Recording().record(session, as_told(events))
    go_on(sessions, job, attempt=2, after=1)
    go_on(sessions, job, attempt=3, after=2)
    assert losses(member, job) == {1: 3, 2: 3, 3: 3, 4: 3}
    assert member.get(f"/api/jobs/{job}/metrics").json()["evaluations"] == [{"step": 4, "loss": 3}]


def losses(member: TestClient, job: str, **query: int) -> dict[int, float]:
    answer = member.get(f"/api/jobs/{job}/metrics", params=query).json()
    return dict(zip(answer["steps"], answer["series"]["loss"]["mean"], strict=True))


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_is_kept_and_read_instead_of_its_steps(member: TestClient, sessions: Sessions) -> None:
    job = member.post("/api/jobs", json=spec()).json()["id"]
    with sessions.begin() as session:
        Recording().record(session, as_told([step(job, number, number) for number in range(1, 301)]))
    with sessions() as session:
        levels = [row.level for row in session.query(TierRow).filter_by(job=job)]
    assert {level: levels.count(level) for level in sorted(set(levels))} == {1: 18, 2: 4, 3: 1}


def test_a_step_that_comes_late_still_counts(member: TestClient, sessions: Sessions) -> None:
    """Streams are in order; should a hole ever be filled afterwards, the sums follow."""
    job = member.post("/api/jobs", json=spec()).json()["id"]
    dice = random.Random(1)
    events = [told(job, number, number, 1, dice) for number in range(1, 1400)]
    recording = Recording()
    for batch in (events[:100], events[101:], events[100:101]):
        with sessions.begin() as session:
            recording.record(session, as_told(batch))
    with sessions() as session:
        check(session, events, 1, 0, 2000, 100)
