"""A thread that reads memory many times within a step, so that a peak between two marks is seen.

Its rate follows from its own cost: as many samples a second as SHARE of the time allows, at most 100.
"""

import threading
import time
from collections.abc import Callable, Sequence

from worker.probes.reading import Bytes
from worker.trainer.meter.sources import Source

FASTEST_HZ, SLOWEST_HZ = 100.0, 1.0
"""Issue 4 wants 20 to 100 a second; where one sample costs more than 0.3 % of 50 ms, the budget wins."""
SHARE = 0.003
"""Share of the time that sampling may take: of the 1 % that all measuring may cost, the marks of short steps need the rest."""
NEWEST = 0.1
"""Weight of the newest sample in the mean cost."""


def rate_hz(cost_seconds: float) -> float:
    """Samples a second at which samples of this cost take SHARE of the time."""
    return min(FASTEST_HZ, max(SLOWEST_HZ, SHARE / max(cost_seconds, 1e-9)))


class Sampler:
    """Calls ``heard(source, value)`` for every source at the rate that its cost allows, until closed."""

    def __init__(self, sources: Sequence[Source], heard: Callable[[str, Bytes], None]) -> None:
        self._sources = sources
        self._heard = heard
        self._stopped = threading.Event()
        self.seconds = 0.0
        """Processor time of the thread so far: what it takes from the training."""
        self.samples = 0
        self.cost_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(1 / rate_hz(self.cost_seconds)):
            began = time.thread_time()
            for source in self._sources:
                self._heard(source.name, source.read())
            cost = time.thread_time() - began
            self.cost_seconds += (NEWEST if self.samples else 1.0) * (cost - self.cost_seconds)
            self.seconds += cost
            self.samples += 1
