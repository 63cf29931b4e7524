"""``GET /metrics`` for Prometheus. Needs a signed-in user's token like the rest. docs/operations.md lists what is there."""

from collections.abc import Iterable

import redis
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.dependencies import CurrentUser, RedisDep, SessionDep
from backend.gpus.reports import reports
from backend.jobs.tables import CHAT, MERGE, TRAIN, JobRow
from backend.telemetry.lag import recorder_lag
from tunescope.states import JobState
from tunescope.wire import GpuReport, MachineReport

router = APIRouter(include_in_schema=False)

GPU_LABELS = ("machine", "gpu", "index", "name")
GPU_GAUGES: dict[str, tuple[str, str, float]] = {
    "memory_total_bytes": ("total_bytes", "Device memory", 1),
    "memory_used_bytes": ("used_bytes", "Device memory that is not free, the driver's reserve included", 1),
    "memory_free_bytes": ("free_bytes", "Device memory that is free", 1),
    "memory_reserved_bytes": ("reserved_bytes", "Device memory that the driver keeps for itself", 1),
    "utilization_ratio": ("utilization_percent", "Share of the last moments in which a kernel ran, 0 to 1", 0.01),
    "temperature_celsius": ("temperature_celsius", "Temperature of the GPU", 1),
    "power_watts": ("power_watts", "Power that the GPU draws", 1),
    "ecc_uncorrected_errors": ("ecc_volatile_uncorrected", "Uncorrected memory errors since the driver was loaded", 1),
}
"""Metric (after ``tunescope_gpu_``): field of GpuReport, help, factor. A figure that is unknown has no sample."""


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(session: SessionDep, connection: RedisDep, _user: CurrentUser) -> PlainTextResponse:
    registry = CollectorRegistry()
    add_jobs(registry, session)
    up = Gauge("tunescope_redis_up", "Whether Redis answers", registry=registry)
    try:
        found, lag = reports(connection), recorder_lag(connection)
    except redis.RedisError:
        up.set(0)
    else:
        up.set(1)
        add_machines(registry, found)
        name = "tunescope_recorder_lag_events"
        Gauge(name, "Events in Redis that are not yet in the database", registry=registry).set(lag)
    return PlainTextResponse(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def add_jobs(registry: CollectorRegistry, session: Session) -> None:
    for task, name, meaning in (
        (TRAIN, "tunescope_jobs", "Trainings by state"),
        (CHAT, "tunescope_chats", "Chats with results by state"),
        (MERGE, "tunescope_merges", "Merges of adapters by state"),
    ):
        gauge = Gauge(name, meaning, ["state"], registry=registry)
        found = select(JobRow.state, func.count()).where(JobRow.task == task).group_by(JobRow.state)
        counts = dict(session.execute(found).tuples().all())
        for state in JobState:
            gauge.labels(state.value).set(counts.get(state.value, 0))


def add_machines(registry: CollectorRegistry, found: Iterable[MachineReport]) -> None:
    machines = list(found)
    Gauge("tunescope_machines_connected", "Machines whose worker is connected", registry=registry).set(len(machines))
    host = [
        Gauge(f"tunescope_host_memory_{name}_bytes", help, ["machine"], registry=registry)
        for name, help in (("total", "Main memory"), ("available", "Main memory that programs can still have"))
    ]
    usable = Gauge("tunescope_gpu_usable", "Whether jobs can run on the GPU", GPU_LABELS, registry=registry)
    gauges = {
        name: Gauge(f"tunescope_gpu_{name}", help, GPU_LABELS, registry=registry)
        for name, (_, help, _) in GPU_GAUGES.items()
    }
    for machine in machines:
        host[0].labels(machine.name).set(machine.host_total_bytes)
        host[1].labels(machine.name).set(machine.host_available_bytes)
        for gpu in machine.gpus:
            labels = (machine.name, gpu.uuid, str(gpu.index), gpu.name)
            usable.labels(*labels).set(gpu.unusable_because is None and not gpu.divided)
            add_gpu(gauges, labels, gpu)


def add_gpu(gauges: dict[str, Gauge], labels: tuple[str, ...], gpu: GpuReport) -> None:
    for name, (figure, _, factor) in GPU_GAUGES.items():
        value = getattr(gpu, figure)
        if value is not None:
            gauges[name].labels(*labels).set(value * factor)
