"""How fast telemetry is: ``python -m benchmarks.telemetry [--quick] [--database-url URL] [--peers PYTHON]``.

Runs the real Redis, relay, controller and API on this machine, and prints a table:

throughput  outboxes of 100 jobs on disk -> SQL, each event once; and the processor time that each part took for an event
latency     1,000 steps/s of 10 jobs: age of a step when it reaches SQL, and a browser by server-sent events
browsers    50 browsers on one job's stream at 20 steps/s
query       GET /metrics over 1,000,000 steps of one job: the server's time for an answer of 1,000 points
peers       steps of four metrics into SQLite by MLflow and Trackio, if PYTHON has them (see benchmarks/requirements.txt)
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import text

from backend.telemetry.recording import Recording
from backend.telemetry.series import metrics
from backend.telemetry.told import as_told
from benchmarks.telemetry_stage import Stage, stage, state, step_event, wait
from tunescope.cli.up import python
from tunescope.states import JobState

CLIENTS = "benchmarks.telemetry_clients"
POINTS = 1000


def write_outboxes(data_dir: Path, jobs: list[str], steps: int, lean: bool) -> int:
    """Outboxes of whole attempts, as trainers leave them. Returns how many events they hold."""
    for job in jobs:
        folder = data_dir / "jobs" / job / "1"
        folder.mkdir(parents=True)
        events = [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING)]
        lines = [event.model_dump_json() for event in events]
        lines += [step_event(job, 2 + number, number, lean).model_dump_json() for number in range(1, steps + 1)]
        lines.append(state(job, steps + 3, JobState.SUCCEEDED).model_dump_json())
        (folder / "outbox.jsonl").write_text("\n".join(lines) + "\n")
    return len(jobs) * (steps + 3)


def throughput(here: Stage, jobs_count: int, steps: int, lean: bool = False) -> dict[str, float]:
    jobs = here.make_jobs(jobs_count, f"{jobs_count}job{steps}s")
    events = write_outboxes(here.settings.data_dir, jobs, steps, lean)
    client = subprocess.Popen(
        python(CLIENTS, "relay", here.settings.redis_url, str(here.settings.data_dir), *jobs),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdin and client.stdout
    client.stdout.readline()  # its modules are loaded
    parts = ("redis", "controller")
    before = {part: here.cpu_seconds(part) for part in parts}
    began = time.perf_counter()
    client.stdin.write(b"go\n")
    client.stdin.flush()

    def recorded() -> bool:
        with here.sessions() as session:
            ended = text("SELECT count(*) FROM jobs WHERE state = 'succeeded' AND id LIKE :prefix")
            return session.scalar(ended, {"prefix": f"{jobs[0][:-1]}%"}) == len(jobs)

    wait(recorded, 600, "recording")
    seconds = time.perf_counter() - began
    relayed = json.loads(client.communicate()[0])
    check_exactly_once(here, jobs, steps)
    micro = 1e6 / events
    return {
        "events/s": events / seconds,
        "relay µs": relayed["cpu_seconds"] * micro,
        **{f"{part} µs": (here.cpu_seconds(part) - before[part]) * micro for part in parts},
    }


def check_exactly_once(here: Stage, jobs: list[str], steps: int) -> None:
    with here.sessions() as session:
        for job in jobs:
            rows = session.execute(text("SELECT sequence FROM events WHERE job = :job ORDER BY sequence"), {"job": job})
            assert [row[0] for row in rows] == list(range(1, steps + 4)), f"{job}: not every event once"
            found = session.execute(text("SELECT count(*), max(step) FROM steps WHERE job = :job"), {"job": job}).one()
            assert tuple(found) == (steps, steps), f"{job}: not every step once"


def latency(
    here: Stage, prefix: str, jobs_count: int, browsers: int, per_second: float, seconds: float
) -> dict[str, Any]:
    """Delays in milliseconds of steps told at a steady pace."""
    jobs = here.make_jobs(jobs_count, prefix)
    database = str(here.settings.data_dir / "tunescope.sqlite")
    watch = subprocess.Popen(python(CLIENTS, "watch", here.url, database, str(browsers), *jobs), stdout=subprocess.PIPE)
    time.sleep(2)
    parts = ("redis", "controller", "api")
    before = {part: here.cpu_seconds(part) for part in parts}
    pace = (str(per_second), str(seconds))
    emit = python(CLIENTS, "emit", here.settings.redis_url, str(here.settings.data_dir), *pace, *jobs)
    told = json.loads(subprocess.run(emit, stdout=subprocess.PIPE, check=True).stdout)
    seen = json.loads(watch.communicate(timeout=120)[0])
    steps = int(per_second * seconds)
    assert len(seen["browser"]) == steps * browsers, (len(seen["browser"]), steps * browsers)
    assert len(seen["sql"]) == steps, (len(seen["sql"]), steps)
    used = {part: (here.cpu_seconds(part) - before[part]) / seconds for part in parts}
    return {"per_second": steps / told["seconds"], "browser": seen["browser"], "sql": seen["sql"], "cores": used}


def percentile(values: list[float], share: float) -> float:
    """In milliseconds, of seconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


def query(here: Stage, steps: int) -> dict[str, float]:
    """Milliseconds to answer for charts of a long job: the whole, and parts of it, as someone zooms."""
    (job,) = here.make_jobs(1, "long")
    recording = Recording()
    for first in range(1, steps + 1, 5000):
        events = [step_event(job, number, number) for number in range(first, min(first + 5000, steps + 1))]
        with here.sessions.begin() as session:
            recording.record(session, as_told(events))
    dice = random.Random(1)
    found: dict[str, float] = {}
    for name, width in (("whole", steps), ("tenth", steps // 10), ("finest", POINTS)):
        taken: list[float] = []
        for _ in range(20):
            first = dice.randint(1, steps - width + 1)
            began = time.perf_counter()
            with here.sessions() as session:
                answer = metrics(session, job, 1, first, first + width - 1, POINTS)
                size = len(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
            taken.append(time.perf_counter() - began)
            assert size > 10_000
        found[f"{name} p50"], found[f"{name} max"] = percentile(taken, 0.5), 1000 * max(taken)
    return found


def peer(interpreter: str, name: str, steps: int) -> float | str:
    """Steps/s of another tracker, or why it was not measured."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).with_name("telemetry_peers.py")
        answer = subprocess.run([interpreter, script, name, str(steps), folder], capture_output=True, text=True)
    if answer.returncode:
        return f"skipped: {(answer.stderr.strip().splitlines() or ['it failed'])[-1]}"
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    if found["stored"] != steps:
        return f"stored only {found['stored']} of {steps} steps"
    return steps / found["seconds"]


@contextmanager
def fresh_stage(database_url: str) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="tst-") as folder, stage(Path(folder), database_url) as here:
        yield here


def print_speed(name: str, told: dict[str, float]) -> float:
    parts = ", ".join(f"{part} {value:.0f}" for part, value in told.items() if part != "events/s")
    print(f"{name:44} {told['events/s']:9,.0f} events/s   processor time an event: {parts}", flush=True)
    return told["events/s"]


def print_delays(name: str, told: dict[str, Any]) -> None:
    print(f"{name:44} busy cores: {', '.join(f'{part} {cores:.2f}' for part, cores in told['cores'].items())}")
    for to in ("sql", "browser"):
        p50, p99 = percentile(told[to], 0.5), percentile(told[to], 0.99)
        print(
            f"{name + ', emit to ' + to:44} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   ({told['per_second']:,.0f} steps/s)"
        )
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    parser.add_argument("--only", default="throughput,latency,query,peers")
    parser.add_argument("--database-url", default="", help="Postgres, for the throughput; SQLite if not given")
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has mlflow and trackio")
    chosen = parser.parse_args()
    share = 10 if chosen.quick else 1
    only = set(chosen.only.split(","))
    ours = 0.0
    with fresh_stage(chosen.database_url) as here:
        here.start_controller()
        throughput(here, 2, 10)  # the controller's modules are loaded
        if "throughput" in only:
            print_speed("outbox to SQL, 100 jobs, full steps", throughput(here, 100, 1000 // share))
        if "throughput" in only or "peers" in only:
            ours = print_speed(
                "outbox to SQL, 1 job, 4 metrics a step", throughput(here, 1, 50_000 // share, lean=True)
            )
    if "latency" in only:
        with fresh_stage("") as here:
            here.start_controller()
            here.start_api()
            print_delays("10 jobs, 1,000 steps/s", latency(here, "ten", 10, 1, 1000, 60 / share))
            print_delays("1 job, 20 steps/s, 50 browsers", latency(here, "one", 1, 50, 20, 20 / min(share, 4)))
    if "query" in only:
        with fresh_stage("") as here:
            found = query(here, 1_000_000 // share)
        for name in ("whole", "tenth", "finest"):
            label = f"1,000 points of {1_000_000 // share:,} steps: {name}"
            print(f"{label:44} p50 {found[f'{name} p50']:6.1f} ms   max {found[f'{name} max']:6.1f} ms", flush=True)
    if "peers" in only:
        for name, steps in (("mlflow", 2000 // share), ("trackio", 50_000 // share)):
            told = peer(chosen.peers, name, steps)
            said = told if isinstance(told, str) else f"{told:9,.0f} steps/s    ours: {ours / told:.1f} times as many"
            print(f"{name + ', 4 metrics a step':44} {said}", flush=True)


if __name__ == "__main__":
    main()
