"""Processes beside the server in the telemetry benchmark: ``python -m benchmarks.telemetry_clients emit|relay|watch …``.

emit   appends steps to outboxes at a steady pace and relays them, as workers do
relay  says that it is ready, waits for a line, and relays the outboxes that are on disk
watch  follows the jobs' event streams as browsers do, looks at SQL every 5 ms, and prints both delays as JSON
"""

import asyncio
import json
import sqlite3
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import redis

from benchmarks.telemetry_stage import ADMIN_TOKEN, step_fields
from tunescope.events import StateEvent, StepEvent
from tunescope.states import JobState
from worker.outbox import Outbox
from worker.relay import RelayThread

LOOK_SECONDS = 0.005


def emit(redis_url: str, data_dir: str, per_second: float, seconds: float, jobs: list[str]) -> None:
    """``per_second`` steps of all jobs together."""
    relay = RelayThread(redis.Redis.from_url(redis_url))
    relay.start()
    boxes = [Outbox(Path(data_dir) / "jobs" / job / "1", job=job, attempt=1) for job in jobs]
    for job, box in zip(jobs, boxes, strict=True):
        relay.add(box.path.parent, job=job, attempt=1)
        box.emit(StateEvent, state=JobState.STARTING)
        box.emit(StateEvent, state=JobState.RUNNING)
    time.sleep(1)
    began = time.perf_counter()
    for number in range(int(per_second * seconds)):
        behind = began + number / per_second - time.perf_counter()
        if behind > 0:
            time.sleep(behind)
        boxes[number % len(boxes)].emit(StepEvent, **step_fields(number // len(boxes) + 1))
        relay.ring()
    told = time.perf_counter() - began
    for box in boxes:
        box.emit(StateEvent, state=JobState.SUCCEEDED)
    relay.stop(60)
    print(json.dumps({"seconds": told}))


def relay(redis_url: str, data_dir: str, jobs: list[str]) -> None:
    thread = RelayThread(redis.Redis.from_url(redis_url))
    for job in jobs:
        thread.add(Path(data_dir) / "jobs" / job / "1", job=job, attempt=1)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.process_time()
    thread.deliver_all()
    print(json.dumps({"cpu_seconds": time.process_time() - began}))


async def follow(url: str, job: str, delays: list[float]) -> None:
    """Read a job's stream to its end; note how old each step was when it came."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 24)
    request = f"GET /api/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    writer.write(request.encode())
    while line := await reader.readline():
        if line.startswith(b"data: {") and b'"kind":"step"' in line:
            delays.append(time.time() - json.loads(line[6:])["at"])
        elif line.startswith(b"event: end"):
            break
    writer.close()


async def look(database: str, jobs: list[str], delays: list[float], done: asyncio.Event) -> None:
    """Note how old each step was when it was first seen in SQL."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    seen = dict.fromkeys(jobs, 0)
    query = "SELECT sequence, kind, at FROM events WHERE job = ? AND attempt = 1 AND sequence > ?"
    while True:
        last_look = done.is_set()
        for job in jobs:
            found = connection.execute(query, (job, seen[job])).fetchall()
            now = time.time()
            delays += [now - at for _, kind, at in found if kind == "step"]
            seen[job] = max([seen[job], *(row[0] for row in found)])
        if last_look:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def watch(url: str, database: str, browsers: int, jobs: list[str]) -> None:
    to_browser: list[float] = []
    to_sql: list[float] = []
    done = asyncio.Event()
    followers = [follow(url, job, to_browser) for job in jobs for _ in range(browsers)]
    looking = asyncio.create_task(look(database, jobs, to_sql, done))
    await asyncio.gather(*followers)
    done.set()
    await looking
    print(json.dumps({"browser": to_browser, "sql": to_sql, "cpu_seconds": time.process_time()}))


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "emit":
        emit(rest[0], rest[1], float(rest[2]), float(rest[3]), rest[4:])
    elif what == "relay":
        relay(rest[0], rest[1], rest[2:])
    else:
        asyncio.run(watch(rest[0], rest[1], int(rest[2]), rest[3:]))


if __name__ == "__main__":
    main()
