"""Runs a command that dies with the worker: ``python launch.py PARENT_PID COMMAND …``.

Linux kills this process when its parent thread ends, however that comes about, so no trainer outlives its worker and keeps a GPU.
It is a program of its own because code between fork and exec in a process with threads may deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
