"""Watch a job from the terminal: a live progress bar, or plain lines where the output is no terminal."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tunescope.cli.output import console, errors
from tunescope.client import CannotReach, Client
from tunescope.events import (
    JobEvent,
    LogEvent,
    MemoryFigure,
    PlanEvent,
    StageEvent,
    StateEvent,
    StepEvent,
    WarningEvent,
)
from tunescope.states import JobState
from tunescope.units import format_bytes

STAGE_LINE_SECONDS = 5.0
"""Progress within a stage (a download) is printed at most so often."""


class View(Protocol):
    def hear(self, event: JobEvent) -> None: ...


class PlainView:
    """One line an event: for files, pipes and logs of other programs."""

    def __init__(self) -> None:
        self._stage = ""
        self._staged_at = 0.0

    def hear(self, event: JobEvent) -> None:
        line = self._line(event)
        if line:
            print(line, flush=True)

    def _line(self, event: JobEvent) -> str | None:
        if isinstance(event, StateEvent):
            return str(event.state)
        if isinstance(event, StageEvent):
            return self._stage_line(event)
        if isinstance(event, PlanEvent):
            return plan_text(event)
        if isinstance(event, StepEvent):
            return f"step {event.step}/{event.total_steps}  {figures(event)}"
        if isinstance(event, WarningEvent):
            return f"warning: {event.message}"
        if isinstance(event, LogEvent) and not repeats_step(event):
            return event.line
        return None

    def _stage_line(self, event: StageEvent) -> str | None:
        now = time.monotonic()
        if event.stage == self._stage and now - self._staged_at < STAGE_LINE_SECONDS and event.done != event.total:
            return None
        self._stage, self._staged_at = event.stage, now
        return stage_text(event)


class LiveView:
    """A bar at the bottom of the terminal; log lines scroll above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=None, figures="")

    def hear(self, event: JobEvent) -> None:
        update, task, say = self._progress.update, self._task, self._progress.console.print
        if isinstance(event, PlanEvent):
            update(task, total=event.total_steps, completed=0)
            say(plan_text(event))
        elif isinstance(event, StageEvent):
            update(task, description=stage_text(event))
        elif isinstance(event, StepEvent):
            update(
                task,
                completed=event.step,
                total=event.total_steps,
                description="running",
                figures=figures(event),
            )
        elif isinstance(event, WarningEvent):
            say(event.message, style="yellow")
        elif isinstance(event, LogEvent) and not repeats_step(event):
            say(event.line, style="dim")
        elif isinstance(event, StateEvent):
            update(task, description=event.state.value)


def watch(client: Client, job_id: str) -> int:
    """Show a job until it ends; Ctrl-C leaves the job running. The exit code: 0 if it succeeded."""
    with leaving_it_running(job_id):
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
            )
            with Progress(*columns, console=console) as progress:
                return hear_all(client, job_id, LiveView(progress))
        return hear_all(client, job_id, PlainView())


@contextmanager
def leaving_it_running(job_id: str) -> Generator[None]:
    """Whoever stops watching, or loses the server for good, is told that the job does not stop, and its id."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"\nThe job goes on. Watch again: tunescope jobs follow {job_id}")
        raise
    except CannotReach as error:
        raise CannotReach(f"{error}\nThe job may go on. Watch again: tunescope jobs follow {job_id}") from error


def told_lost(reason: str) -> None:
    errors.print(f"{reason}; trying again")


def hear_all(client: Client, job_id: str, view: View) -> int:
    for event in client.follow(job_id, on_lost=told_lost):
        view.hear(event)
        if isinstance(event, StateEvent) and event.failure:
            errors.print(f"{event.failure.detail}\n{event.failure.advice}")
    return exit_code(client, job_id)


def exit_code(client: Client, job_id: str) -> int:
    return 0 if client.job(job_id)["state"] == JobState.SUCCEEDED else 1


def repeats_step(event: LogEvent) -> bool:
    """The trainer also logs each step as a line; whoever shows step events needs it no second time."""
    return event.stream == "trainer" and event.line.startswith("step ")


def plan_text(event: PlanEvent) -> str:
    trained = f"{event.trainable_parameters:,} of {event.all_parameters:,} parameters are trained"
    return f"{event.total_steps} steps over {event.train_rows} rows on {event.device}; {trained}"


def stage_text(event: StageEvent) -> str:
    detail = f": {event.detail}" if event.detail else ""
    if event.done is None:
        return event.stage + detail
    whole = f" of {format_bytes(event.total)}" if event.total else ""
    return f"{event.stage}{detail}  {format_bytes(event.done)}{whole}"


def figures(event: StepEvent) -> str:
    loss = "loss NaN" if event.loss is None else f"loss {event.loss:.3f}"
    return f"{loss}  {event.tokens_per_second:.0f} tok/s  {memory_text(event.memory)}"


def memory_text(figures: list[MemoryFigure]) -> str:
    known = [figure for figure in figures if figure.peak_bytes or figure.bytes]
    if not known:
        return "memory unknown"
    first = known[0]
    return f"{format_bytes(first.peak_bytes or first.bytes or 0)} ({first.source})"
