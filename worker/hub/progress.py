"""How much of a download has arrived, told at most once a second, from whichever thread receives it."""

import threading
import time
from collections.abc import Callable

from worker.hub.refusal import DownloadStopped

TELL_SECONDS = 1.0
Tell = Callable[[int, int], None]
"""Hears bytes done and bytes in total."""


class Progress:
    """Counts bytes. ``add`` raises DownloadStopped once ``stopped`` says so: that ends the hub's own code too."""

    def __init__(self, total: int, tell: Tell, stopped: Callable[[], bool]) -> None:
        self._total = total
        self._tell = tell
        self._stopped = stopped
        self._done = 0
        self._told_at = 0.0
        self._lock = threading.Lock()
        tell(0, total)

    def add(self, count: int) -> None:
        if self._stopped():
            raise DownloadStopped
        with self._lock:
            self._done = max(0, self._done + count)
            now = time.monotonic()
            if now - self._told_at < TELL_SECONDS:
                return
            self._told_at = now
            done = min(self._done, self._total)
        self._tell(done, self._total)

    def finish(self) -> None:
        """Everything is here; part of it may have been here before."""
        self._tell(self._total, self._total)
