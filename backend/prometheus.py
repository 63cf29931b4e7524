"""``GET /metrics`` for Prometheus: jobs by state and each GPU's memory. Needs a signed-in user's token like the rest."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from redis import RedisError
from sqlalchemy import func, select

from backend.dependencies import CurrentUser, RedisDep, SessionDep
from backend.gpus.routes import reports
from backend.jobs.tables import JobRow
from tunescope.states import JobState

router = APIRouter(include_in_schema=False)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(session: SessionDep, connection: RedisDep, _user: CurrentUser) -> PlainTextResponse:
    registry = CollectorRegistry()
    jobs = Gauge("tunescope_jobs", "Jobs by state", ["state"], registry=registry)
    counts = dict(session.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).tuples().all())
    for state in JobState:
        jobs.labels(state.value).set(counts.get(state.value, 0))
    labels = ["machine", "gpu", "name"]
    used = Gauge("tunescope_gpu_memory_used_bytes", "Device memory in use", labels, registry=registry)
    total = Gauge("tunescope_gpu_memory_total_bytes", "Device memory", labels, registry=registry)
    machines = Gauge("tunescope_machines_connected", "Machines whose worker is connected", registry=registry)
    try:
        found = reports(connection)
    except RedisError:
        found = []
    machines.set(len(found))
    for machine in found:
        for gpu in machine.gpus:
            for gauge, value in ((used, gpu.used_bytes), (total, gpu.total_bytes)):
                if value is not None:
                    gauge.labels(machine.name, gpu.uuid, gpu.name).set(value)
    return PlainTextResponse(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
