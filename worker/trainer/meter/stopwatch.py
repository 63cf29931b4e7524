"""Time between two marks. On CUDA the GPU itself must tell it: the host only queues work and runs ahead."""

import time
from typing import Any, Protocol

import torch


class Stopwatch(Protocol):
    def mark(self) -> Any:
        """A moment, to be compared later."""
        ...

    def settle(self, mark: Any) -> None:
        """Wait until ``mark`` and all before it have passed."""
        ...

    def seconds(self, earlier: Any, later: Any) -> float: ...


class HostStopwatch:
    def mark(self) -> float:
        return time.perf_counter()

    def settle(self, mark: float) -> None:
        return None

    def seconds(self, earlier: float, later: float) -> float:
        return later - earlier


class CudaStopwatch:
    """CUDA events on the current stream: recording costs microseconds and waits for nothing."""

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def settle(self, mark: torch.cuda.Event) -> None:
        mark.synchronize()

    def seconds(self, earlier: torch.cuda.Event, later: torch.cuda.Event) -> float:
        return float(earlier.elapsed_time(later)) / 1000
