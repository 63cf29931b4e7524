"""How several processes share the suite: what starts a whole server is one group, and what takes longest begins first.

A process takes a whole group at a time. Files are groups; a package whose files share one server is one group too, so that its
server starts once. A long group that begins last would leave the other processes idle. (Not by ``--dist loadgroup``: with pytest
9.2, xdist 3.8 deals out each test by itself there, https://github.com/pytest-dev/pytest-xdist/issues/1386.)
"""

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from worker.libraries import loading

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

SHARING = {"browser/": "browser", "cli/test_commands": "cli", "cli/test_examples": "cli", "cli/test_sdk": "cli"}
"""Files that share a server (their conftest's ``server``), by how their paths begin, and their group."""
LONGEST = (
    "browser", "worker/test_formula_against_trace", "worker/test_hub", "cli", "worker/test_parallel", "faults/test_trainer_killed",
    "faults/test_redis_and_workers", "worker/test_controller", "worker/test_trainer", "worker/test_tracer_published",
    "worker/test_tracer", "worker/test_merge", "worker/test_answers", "worker/test_reserved_against_trace", "worker/test_probe",
    "api/test_jobs", "api/test_schema", "worker/test_out_of_memory", "house/test_compose", "worker/test_fsdp_steps",
    "worker/test_gpu_queue", "worker/test_tracer_process", "worker/test_nvml",
)  # fmt: skip
"""Groups from the longest on; all others follow as they are collected."""


GPUS_TO_TEST = "GPUS_TO_TEST"
"""What CUDA_VISIBLE_DEVICES said before: the GPUs that tests/gpu may take."""
# All other tests are of the CPU, on a machine with GPUs too.
os.environ.setdefault(GPUS_TO_TEST, os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""


def group_of(nodeid: str) -> str:
    """The group of a test: "browser", or "worker/test_trainer"."""
    name = nodeid.split("::", 1)[0].removeprefix("tests/").removesuffix(".py")
    return next((group for beginning, group in SHARING.items() if name.startswith(beginning)), name)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Every process imports all tests, and with them the libraries: as a job does, in two thirds of the time."""
    with loading():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(group_of(item.nodeid), len(LONGEST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroup(config, log)
