"""``python -m worker``: a worker on this machine, until SIGTERM or Ctrl-C."""

import logging
import signal
import sys
from collections.abc import Sequence

import redis
from celery.signals import worker_shutting_down

from tunescope.settings import WorkerSettings
from tunescope.wire import NO_GPU_DRIVER
from worker.app import create_app
from worker.machine import Machine
from worker.probes.nvml import Nvml
from worker.probes.reading import Unknown
from worker.supervisor import TRAINER
from worker.tasks import register
from worker.tracechild import TRACER

GPU_JOBS = 64
"""Attempts that may run at once on a machine with GPUs: the controller decides, this only has to be enough. GPUs and their MIG
instances come and go, even all of them for a while, with the driver."""


def concurrency(settings: WorkerSettings) -> int:
    """Attempts that may run at once: on a machine without a GPU ``cpu_jobs``, else as many as the controller sends."""
    nvml = Nvml()
    gpus = nvml.gpus()
    nvml.close()
    if isinstance(gpus, Unknown):
        return settings.cpu_jobs if gpus.because.startswith(NO_GPU_DRIVER) else GPU_JOBS
    return GPU_JOBS if gpus else settings.cpu_jobs


def main(command: Sequence[str] = TRAINER, tracer: Sequence[str] = TRACER) -> int:
    """Work until told to stop; ``command`` is what runs an attempt, followed by the path of its order; ``tracer`` traces."""
    settings = WorkerSettings()  # pyright: ignore[reportCallIssue]
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s worker: %(message)s")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=10, socket_connect_timeout=5)  # pyright: ignore[reportUnknownMemberType]
    machine = Machine(settings, client, command, tracer)
    app = create_app(settings)
    register(app, machine)

    def shutting_down(**_: object) -> None:
        machine.leave()

    worker_shutting_down.connect(shutting_down, weak=False)  # pyright: ignore[reportUnknownMemberType]
    machine.start()
    # One thread an attempt: each only watches a child process, so threads cost nothing and several GPUs work at once.
    celery_worker = app.Worker(
        pool="threads",
        concurrency=concurrency(settings),
        loglevel=settings.log_level.upper(),
        hostname=f"tunescope@{settings.machine}",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    try:
        celery_worker.start()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        machine.leave()
        machine.close()
    return int(celery_worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
