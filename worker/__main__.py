"""``python -m worker``: a worker on this machine, until SIGTERM or Ctrl-C."""

import logging
import signal
import sys
from collections.abc import Sequence

import redis
from celery.signals import worker_shutting_down

from tunescope.settings import WorkerSettings
from worker.app import create_app
from worker.machine import Machine
from worker.probes.nvml import Nvml
from worker.probes.reading import Unknown
from worker.supervisor import TRAINER
from worker.tasks import register


def concurrency(settings: WorkerSettings) -> int:
    """Attempts that may run at once: one a GPU, or ``cpu_jobs`` on a machine without one."""
    nvml = Nvml()
    gpus = nvml.gpus()
    nvml.close()
    return settings.cpu_jobs if isinstance(gpus, Unknown) or not gpus else len(gpus)


def main(command: Sequence[str] = TRAINER) -> int:
    """Work until told to stop; ``command`` is what runs an attempt, followed by the path of its order."""
    settings = WorkerSettings()  # pyright: ignore[reportCallIssue]
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s worker: %(message)s")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=10, socket_connect_timeout=5)  # pyright: ignore[reportUnknownMemberType]
    machine = Machine(settings, client, command)
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
