"""``tunescope estimate --trace``: the exact trace, by this machine's worker package, or by a server's worker."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from tunescope.cli.installed import missing
from tunescope.cli.output import console, print_table
from tunescope.client import Client
from tunescope.memory.trace import Trace
from tunescope.memory.verified import DIFFERS_PERCENT, difference_percent
from tunescope.problems import Problem, Unavailable
from tunescope.spec import JobSpec
from tunescope.units import format_bytes

LIBRARIES = ("worker", "torch", "transformers", "peft")


def trace_of(spec: JobSpec, config: dict[str, Any], stack: str | None = None) -> Trace:
    """Trace a spec here if the worker's libraries are installed, else on the server. Raises Problem or ClientError.

    ``stack`` names the profile whose rules are followed where a library's version decides; a server traces with its own.
    """
    absent = missing(*LIBRARIES)
    if not absent:
        return trace_here(spec, config, stack)
    if stack is not None:
        raise Unavailable(
            "A server traces with its worker's own library versions; --stack needs the libraries here.",
            f"Leave --stack or --trace away, or install: {', '.join(absent)}.",
        )
    if os.environ.get("TUNESCOPE_URL") or os.environ.get("TUNESCOPE_TOKEN"):
        return trace_on_server(spec)
    raise Unavailable(
        f"A trace needs the worker's libraries; not installed here: {', '.join(absent)}.",
        "Install them (pip install 'tunescope[worker]'), or set TUNESCOPE_URL and TUNESCOPE_TOKEN to ask a server.",
    )


def trace_here(spec: JobSpec, config: dict[str, Any], stack: str | None = None) -> Trace:
    """Run the worker package's tracer as a process: torch is never loaded into the command itself."""
    with tempfile.TemporaryDirectory(prefix="tunescope-") as folder:
        spec_file, config_file = Path(folder) / "spec.json", Path(folder) / "config.json"
        spec_file.write_text(spec.model_dump_json())
        config_file.write_text(json.dumps(config))
        ended = subprocess.run(
            [sys.executable, "-m", "worker.tracer", str(spec_file), str(config_file), *([stack] if stack else [])],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        raise NotTraceable(last_words(ended))
    return Trace.model_validate_json(ended.stdout)


def last_words(ended: "subprocess.CompletedProcess[str]") -> str:
    """Why the tracer failed: its own words (exit code 2), or the last line of what a library raised."""
    lines = ended.stderr.strip().splitlines()
    if not lines:
        return f"the tracer ended with exit code {ended.returncode}"
    return "\n".join(lines) if ended.returncode == 2 else lines[-1]


def trace_on_server(spec: JobSpec) -> Trace:
    with Client() as client:
        status = client.trace(spec)
    if status["state"] != "ready":
        raise NotTraceable(str(status["reason"]).removeprefix("Not traceable: "))
    return Trace.model_validate(status["trace"])


class NotTraceable(Problem):
    """The tracer says why this spec has no trace."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Not traceable: {reason}", "Without --trace the formula answers.")


def print_trace(trace: Trace, answer: dict[str, Any]) -> None:
    """The figures of a trace for people; ``answer`` is the verified estimate."""
    figures = Table(box=None, show_header=False)
    for name, count, meaning in (
        ("active peak", trace.replay.active_peak_bytes, f"the step needs it, at {trace.peak_site}"),
        ("reserved peak", trace.replay.reserved_peak_bytes, "torch's allocator takes it on a card with room"),
        ("smallest budget", trace.replay.smallest_budget_bytes, "it still runs with that; it decides what fits"),
        ("first step's peak", trace.first_step_peak_bytes, "optimizer states come into being"),
    ):
        figures.add_row(name, f"{count:,}", format_bytes(count), meaning)
    console.print(figures, soft_wrap=False)
    sites = sorted(trace.sites.items(), key=lambda item: -item[1])
    print_table(["site", "bytes", ""], [[name, f"{count:,}", format_bytes(count)] for name, count in sites], "")
    console.print(f"Traced in {trace.seconds:.1f} s with {', '.join(f'{k} {v}' for k, v in trace.versions.items())}.")
    formula = answer["formula"]["allocated_bytes"]
    percent = difference_percent(formula, answer["allocated_bytes"])
    if abs(percent) > DIFFERS_PERCENT:
        console.print(
            f"The formula says {format_bytes(formula)} for the active peak: {percent:+.1f} %. Trust the trace.",
            style="yellow",
        )
