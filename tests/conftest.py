"""How several processes share the suite: what starts a whole server is one group, and what takes longest begins first.

With ``--dist loadgroup --no-loadscope-reorder`` a process takes a whole group at a time. Files are groups, as with ``loadfile``; a
package whose files share one server is one group too, so that its server starts once. A long group that begins last would
leave the other process idle.
"""

from pathlib import Path

import pytest

SHARING = {"browser/": "browser", "cli/test_commands": "cli", "cli/test_examples": "cli", "cli/test_sdk": "cli"}
"""Files that share a server (their conftest's ``server``), by how their paths begin, and their group."""
LONGEST = (
    "browser", "worker/test_formula_against_trace", "worker/test_hub", "cli", "faults/test_trainer_killed",
    "faults/test_redis_and_workers", "worker/test_trainer", "worker/test_controller", "api/test_jobs", "worker/test_tracer",
    "api/test_schema", "worker/test_tracer_published", "worker/test_out_of_memory", "worker/test_probe",
)  # fmt: skip
"""Groups from the longest on; all others follow as they are collected."""
HERE = Path(__file__).parent


def group_of(path: Path) -> str:
    """The group of a test file: "browser", or "worker/test_trainer"."""
    name = path.relative_to(HERE).with_suffix("").as_posix()
    return next((group for beginning, group in SHARING.items() if name.startswith(beginning)), name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(group_of(item.path), len(LONGEST)))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item.path)))
