"""Looking at processes that may be dying."""

import psutil


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing if it has just died."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
