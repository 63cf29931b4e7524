"""Runs a command that ends with its parent: ``python launch.py PARENT_PID SIGNAL COMMAND …``.

Linux sends this process SIGNAL when its parent thread ends, however that comes about: no trainer outlives its worker and
keeps a GPU, no server part outlives ``tunescope up`` and keeps its port.
It is a program of its own because code between fork and exec in a process with threads may deadlock.
"""

import ctypes
import os
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def tied_to_parent(command: Sequence[str], number: int) -> list[str]:
    """``command`` as a child of this process that gets signal ``number`` when this thread ends."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(number)), *command]


def main() -> None:
    parent, number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
