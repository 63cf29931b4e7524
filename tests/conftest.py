"""Two processes run the tests (pytest-xdist): what shares a server stays together, all else goes file by file."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SHARED_SERVER = {"browser", "cli", "faults"}
"""Packages whose tests use one running server, or the whole machine's time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(TESTS)
        package = path.parts[0]
        item.add_marker(pytest.mark.xdist_group(package if package in SHARED_SERVER else str(path)))
