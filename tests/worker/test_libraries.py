"""What every job waits for first: the libraries, without the compiler that no job uses, and out of the garbage collector's way."""

import os
import subprocess
import sys

from worker.libraries import NOT_COMPILED

LOADED = """
import gc, sys
from worker.libraries import loading

with loading():
    import bitsandbytes
assert "torch" in sys.modules
print("torch._inductor.compile_fx" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def run(program: str) -> str:
    """What it prints, in a process that nothing was told beforehand."""
    own = {name: value for name, value in os.environ.items() if name != NOT_COMPILED}
    return subprocess.run([sys.executable, "-c", program], env=own, capture_output=True, text=True, check=True).stdout


def test_the_compiler_is_left_out_and_the_collector_goes_on_without_what_was_loaded() -> None:
    assert run(LOADED).split() == ["False", "True", "True"]
