"""What every job waits for first: the libraries, without the compiler that no job uses, and out of the garbage collector's way."""

import subprocess
import sys

LOADED = """
import gc, sys
from worker.libraries import loading

with loading():
    import bitsandbytes
assert "torch" in sys.modules
print("torch._inductor.compile_fx" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def test_the_compiler_is_left_out_and_the_collector_goes_on_without_what_was_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]
