import gc
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worker.parts import Parts
from tests.worker.simulated import SimulatedDriver, build_library


@contextmanager
def with_redis(data_dir: Path) -> Iterator[Parts]:
    sockets = Path(tempfile.mkdtemp(prefix="tsw-"))  # a socket's path must be short
    built = Parts(data_dir, sockets)
    built.start_redis()
    try:
        yield built
    finally:
        built.stop_all()
        shutil.rmtree(sockets, ignore_errors=True)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Redis and a database; the test starts controller and worker when it wants them."""
    with with_redis(tmp_path) as built:
        yield built


@pytest.fixture(scope="module")
def shared_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with with_redis(tmp_path_factory.mktemp("parts")) as built:
        yield built


@pytest.fixture
def running(shared_parts: Parts) -> Parts:
    """Redis, controller and worker at work, shared by the tests of a file; what the test before has killed is there again."""
    shared_parts.start_what_is_missing()
    return shared_parts


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the simulated NVIDIA driver's library."""
    return build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(driver_library: Path, tmp_path: Path) -> SimulatedDriver:
    return SimulatedDriver(driver_library, tmp_path / "scenario")


@pytest.fixture(scope="module")
def light_collections() -> None:
    """Each trace collects garbage; what other tests have loaded is left out of it, which halves the time."""
    gc.collect()
    gc.freeze()
