"""``tunescope jobs``: submit, list, show, follow, cancel, retry, clone, delete, logs, download."""

import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from tunescope.cli.follow import exit_code, leaving_it_running, told_lost, watch
from tunescope.cli.output import console, errors, print_json, print_table
from tunescope.client import Client
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, load_spec
from tunescope.states import TERMINAL
from tunescope.units import format_bytes, format_duration
from tunescope.yaml_text import read_yaml


def read_spec(path: str) -> JobSpec:
    """Read a spec file, or stdin for ``-``. Raises InvalidInput."""
    name = "standard input" if path == "-" else path
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}.", "Give the file of a job spec.") from error
    except ValueError as error:
        raise InvalidInput(f"{name} is not text in UTF-8.", "Give a job spec in YAML or JSON.") from error
    return load_spec(text, name)


def submit(args: Namespace) -> int:
    spec = read_spec(args.spec)
    with Client() as client:
        job = client.submit(spec)
        if args.json:
            return told_json(client, job, follow=args.follow)
        console.print(f"Job {job['id']} is {job['state']}.")
        console.print(estimate_text(job))
        if args.follow:
            return watch(client, job["id"])
        errors.print(f"Watch it with: tunescope jobs follow {job['id']}", style="dim")
    return 0


def told_json(client: Client, job: dict[str, Any], *, follow: bool) -> int:
    """A new job; with ``follow`` the job as it is once it has ended."""
    if not follow:
        print_json(job)
        return 0
    errors.print(f"Job {job['id']} is {job['state']}.")  # the document comes at its end, the id is needed before
    with leaving_it_running(job["id"]):
        for _ in client.follow(job["id"], on_lost=told_lost):
            pass
        print_json(client.job(job["id"]))
        return exit_code(client, job["id"])


def estimate_text(job: dict[str, Any]) -> str:
    if job["estimate"]:
        return f"Estimated peak on a GPU: {format_bytes(job['estimate']['total_bytes'])}"
    return f"No estimate: {job['estimate_unknown_because'] or 'unknown'}"


def list_jobs(args: Namespace) -> int:
    with Client() as client:
        page = client.jobs(state=args.state, limit=args.limit, cursor=args.cursor)
    if args.json:
        print_json(page)
        return 0
    rows = [
        [job["id"], job["name"], job["state"], steps(job), job["owner"]["username"], age(job)] for job in page["items"]
    ]
    print_table(
        ["id", "name", "state", "steps", "owner", "age"], rows, "No jobs yet. Start one: tunescope jobs submit SPEC"
    )
    if page["next_cursor"]:
        errors.print(f"There are more: tunescope jobs list --cursor {page['next_cursor']}", style="dim")
    return 0


def steps(job: dict[str, Any]) -> str:
    progress = job["progress"]
    return f"{progress['step']}/{progress['total_steps'] or '?'}"


def age(job: dict[str, Any]) -> str:
    return format_duration(max(0, time.time() - job["created_at"]))


def show(args: Namespace) -> int:
    with Client() as client:
        job = client.job(args.job)
        files = client.artifacts(args.job)
    if args.json:
        print_json(job)
        return 0
    for name, value in facts(job):
        console.print(f"{name:<10}{value}")
    for file in files:
        console.print(f"{'file':<10}{file['name']}  {format_bytes(file['bytes'])}  {file['url']}")
    return 0


def facts(job: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of a job, as (name, text)."""
    progress, latest = job["progress"], job["latest"] or {}
    found = [
        ("job", f"{job['id']}  {job['name']}"),
        ("state", job["state"] + (f" ({job['stage']})" if job["stage"] and job["state"] not in TERMINAL else "")),
        ("steps", steps(job) + f", attempt {job['attempt']}"),
        ("model", job["spec"]["model"]["id"]),
        ("data set", job["spec"]["data"]["dataset"]),
        ("owner", job["owner"]["username"]),
        ("memory", estimate_text(job)),
    ]
    if job.get("peaks"):
        # The order in which they were told: what the trainer itself holds before the whole GPU.
        measured = [f"{format_bytes(peak)} ({source})" for source, peak in job["peaks"].items()]
        found.append(("measured", "highest " + ", ".join(measured)))
    if progress["eta_seconds"] is not None:
        found.append(("left", format_duration(progress["eta_seconds"])))
    if latest.get("loss") is not None:
        found.append(("loss", f"{latest['loss']:.4f}"))
    elif "loss" in latest:
        found.append(("loss", "no number: the training has diverged, try a lower learning rate"))
    if latest.get("evaluation_loss") is not None:
        found.append(("evaluated", f"loss {latest['evaluation_loss']:.4f}"))
    if job["machine"]:
        found.append(("machine", " ".join([job["machine"], *job["gpus"]])))
    if job["waiting_because"]:
        found.append(("waiting", job["waiting_because"]))
    if job.get("checkpoint_step") is not None:
        found.append(("retry", f"goes on from its last checkpoint, after step {job['checkpoint_step']}"))
    if job["failure"]:
        found += [("failure", job["failure"]["detail"]), ("advice", job["failure"]["advice"])]
    return found + [
        (f"attempt {earlier['attempt']}", ended_text(earlier)) for earlier in job.get("earlier_attempts", [])
    ]


def ended_text(attempt: dict[str, Any]) -> str:
    """How an earlier attempt ended."""
    where = f" on {attempt['machine']}" if attempt["machine"] else ""
    why = f": {attempt['failure']['detail'].splitlines()[0]}" if attempt["failure"] else ""
    return f"{attempt['state']} at step {attempt['step']}{where}{why}"


def download(args: Namespace) -> int:
    folder = Path(args.to or args.job)
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file.", "Give a directory with --to.")
    with Client() as client:
        try:
            found = client.download(args.job, folder)
            state = "" if found else client.job(args.job)["state"]
        except OSError as error:
            raise InvalidInput(
                f"{folder} cannot be written: {error.strerror}.", "Give a directory with --to."
            ) from error
    if args.json:
        print_json([str(path) for path in found])
    elif found:
        for path in found:
            console.print(f"{path}  {format_bytes(path.stat().st_size)}")
    elif state == "succeeded":
        errors.print("This job has succeeded, but its files are no longer on the server.")
    elif state not in TERMINAL:
        errors.print(f"This job is {state}. It leaves files when it succeeds: tunescope jobs follow {args.job}")
    else:
        errors.print("This job has left no files. Only a run that succeeds leaves some.")
    return 0 if found else 1


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


def clone(args: Namespace) -> int:
    patch = dict(changed_field(text) for text in args.set)
    with Client() as client:
        job = client.clone(args.job, patch=patch)
    if args.json:
        print_json(job)
        return 0
    console.print(f"Job {job['id']} is {job['state']}.")
    console.print(estimate_text(job))
    return 0


def changed_field(text: str) -> tuple[str, Any]:
    """``batch.per_device_train_batch_size=2`` as the field and its value, read as in YAML. Raises InvalidInput."""
    path, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not path:
        raise InvalidInput(
            f"{text!r} changes no field.", "Give section.field=value, such as adaptation.r=16, or name=value."
        )
    fields = (
        getattr(JobSpec.model_fields[path].annotation, "model_fields", None) if path in JobSpec.model_fields else None
    )
    if fields:
        raise InvalidInput(
            f"{path} is a section of the spec.", f"Give one of its fields, such as {path}.{next(iter(fields))}=…"
        )
    return path, read_yaml(value, f"the value of {path}")


def delete(args: Namespace) -> int:
    with Client() as client:
        job = client.job(args.job)
        if not args.yes and not wished(f"Delete job {job['id']} ({job['name']}), its figures, log and files for good?"):
            errors.print("Nothing was deleted.")
            return 1
        client.delete(args.job)
    if args.json:
        print_json({"id": job["id"], "deleted": True})
    else:
        console.print(f"Job {job['id']} is deleted.")
    return 0


def wished(question: str) -> bool:
    """The answer of a person at a terminal. Raises InvalidInput where none is there to ask."""
    if not sys.stdin.isatty():
        raise InvalidInput("There is no terminal to ask at.", "Give --yes to delete without a question.")
    errors.print(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


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
    elif not lines:
        errors.print("This job has told no log lines so far.")
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
    with leaving_it_running(job_id):
        events = list(client.follow(job_id, on_lost=told_lost))
        print_json([event.model_dump(mode="json") for event in events])
        return exit_code(client, job_id)
