"""How processes share the suite (tests/conftest.py)."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ("tests/unit/test_states.py", "tests/unit/test_stream.py", "tests/unit/test_recipes.py")
RUN = re.compile(r"^\[(gw\d+)\].* (tests/\S+?\.py)::", re.MULTILINE)


def test_a_file_is_run_by_one_process() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--no-loadscope-reorder",
        "-v",
        "-p",
        "no:cacheprovider",
        *FILES,
    ]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout
    processes: dict[str, set[str]] = defaultdict(set)
    for process, file in RUN.findall(ran.stdout):
        processes[file].add(process)
    assert sorted(processes) == sorted(FILES)
    assert all(len(found) == 1 for found in processes.values()), processes
    assert len(set[str]().union(*processes.values())) == 2
