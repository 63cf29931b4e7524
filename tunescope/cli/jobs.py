"""``tunescope jobs``: submit, list, show, follow, cancel, retry, logs."""

import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tunescope.cli.output import console, errors, print_json, print_table
from tunescope.client import Client
from tunescope.events import LogEvent, MemoryFigure, PlanEvent, StageEvent, StateEvent, StepEvent
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, load_spec
from tunescope.states import JobState
from tunescope.units import format_bytes


def read_spec(path: str) -> JobSpec:
    """Read a spec file, or stdin for ``-``. Raises InvalidInput."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    return load_spec(text)


def submit(args: Namespace) -> int:
    spec = read_spec(args.spec)
    with Client() as client:
        job = client.submit(spec)
        if args.json:
            print_json(job)
            return 0
        console.print(f"Job [bold]{job['id']}[/] is {job['state']}.")
        estimate = job["estimate"]
        if estimate:
            console.print(f"Estimated peak on a GPU: {format_bytes(estimate['total_bytes'])}")
        elif job["estimate_unknown_because"]:
            console.print(f"No estimate: {job['estimate_unknown_because']}", style="dim", markup=False)
        if args.follow:
            return watch(client, job["id"])
        console.print(f"Watch it with: tunescope jobs follow {job['id']}", style="dim")
    return 0


def list_jobs(args: Namespace) -> int:
    with Client() as client:
        page = client.jobs(state=args.state, limit=args.limit)
    if args.json:
        print_json(page)
        return 0
    rows = [
        [job["id"], job["name"], job["state"], steps(job), job["owner"]["username"], age(job)] for job in page["items"]
    ]
    print_table(
        ["id", "name", "state", "steps", "owner", "age"], rows, "No jobs yet. Start one: tunescope jobs submit SPEC"
    )
    return 0


def steps(job: dict[str, Any]) -> str:
    progress = job["progress"]
    return f"{progress['step']}/{progress['total_steps'] or '?'}"


def age(job: dict[str, Any]) -> str:
    minutes = int((time.time() - job["created_at"]) / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def show(args: Namespace) -> int:
    with Client() as client:
        job = client.job(args.job)
    if args.json:
        print_json(job)
        return 0
    console.print(f"[bold]{job['id']}[/]  {job['name']}  {job['state']}  {steps(job)} steps, attempt {job['attempt']}")
    if job["waiting_because"]:
        console.print(f"Waiting: {job['waiting_because']}", markup=False)
    if job["failure"]:
        console.print(job["failure"]["detail"], style="red", markup=False)
        console.print(job["failure"]["advice"], markup=False)
    return 0


def cancel(args: Namespace) -> int:
    return after_change(args, "cancel")


def retry(args: Namespace) -> int:
    return after_change(args, "retry")


def after_change(args: Namespace, action: str) -> int:
    with Client() as client:
        job = client.cancel(args.job) if action == "cancel" else client.retry(args.job)
    if args.json:
        print_json(job)
    else:
        console.print(f"Job {job['id']} is {job['state']}.")
    return 0


def logs(args: Namespace) -> int:
    with Client() as client:
        lines: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = client.logs(args.job, after)
            lines.extend(page["items"])
            after = page["next_after"]
    if args.json:
        print_json(lines)
    else:
        for line in lines:
            print(line["line"])
    return 0


def follow(args: Namespace) -> int:
    with Client() as client:
        client.job(args.job)
        if args.json:
            return print_events(client, args.job)
        return watch(client, args.job)


def print_events(client: Client, job_id: str) -> int:
    """Every event in one JSON array, once the job has ended."""
    events = list(client.follow(job_id))
    print_json([event.model_dump(mode="json") for event in events])
    return exit_code(client, job_id)


def exit_code(client: Client, job_id: str) -> int:
    return 0 if client.job(job_id)["state"] == JobState.SUCCEEDED else 1


def watch(client: Client, job_id: str) -> int:
    """A live progress bar until the job ends; Ctrl-C leaves the job running."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("queued", total=None, figures="")
            for event in client.follow(job_id):
                if isinstance(event, PlanEvent):
                    progress.update(task, total=event.total_steps)
                elif isinstance(event, StageEvent):
                    progress.update(task, description=event.stage)
                elif isinstance(event, StepEvent):
                    progress.update(
                        task,
                        completed=event.step,
                        total=event.total_steps,
                        description="running",
                        figures=figures(event),
                    )
                elif isinstance(event, LogEvent):
                    progress.console.print(event.line, style="dim", markup=False, highlight=False)
                elif isinstance(event, StateEvent):
                    progress.update(task, description=event.state.value)
                    if event.failure:
                        errors.print(f"{event.failure.detail}\n{event.failure.advice}", markup=False)
    except KeyboardInterrupt:
        errors.print(f"\nThe job goes on. Watch again: tunescope jobs follow {job_id}")
        return 130
    return exit_code(client, job_id)


def figures(event: StepEvent) -> str:
    loss = "loss ?" if event.loss is None else f"loss {event.loss:.3f}"
    return f"{loss}  {event.tokens_per_second:.0f} tok/s  {memory_text(event.memory)}"


def memory_text(figures: list[MemoryFigure]) -> str:
    known = [figure for figure in figures if figure.peak_bytes or figure.bytes]
    if not known:
        return "memory unknown"
    first = known[0]
    return f"{format_bytes(first.peak_bytes or first.bytes or 0)} ({first.source})"
