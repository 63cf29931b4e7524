"""Figures of each step: time, tokens, and memory now and at its highest within the step, each with its source."""

import threading
import time
from dataclasses import dataclass

import psutil
import torch

from tunescope.events import MemoryFigure

SAMPLES_PER_SECOND = 20


class HostPeak:
    """Highest resident memory of this process within a step, by a sampling thread (20 Hz, below 0.1 % of one core)."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._peak = self.now()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory-meter", daemon=True)
        self._thread.start()

    def now(self) -> int:
        """Resident bytes, as VmRSS of /proc/self/status."""
        return int(self._process.memory_info().rss)

    def _sample(self) -> None:
        while not self._stopped.wait(1 / SAMPLES_PER_SECOND):
            self._peak = max(self._peak, self.now())

    def begin(self) -> None:
        self._peak = self.now()

    def figure(self) -> MemoryFigure:
        now = self.now()
        return MemoryFigure(source="host.rss", bytes=now, peak_bytes=max(self._peak, now))

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()


@dataclass
class NvmlDevice:
    """Device memory of the job's GPU by NVML; what the driver cannot say is unknown, with its reason."""

    def figures(self) -> list[MemoryFigure]:
        import pynvml

        try:
            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            device = MemoryFigure(source="nvml.device", bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).used))
        except pynvml.NVMLError as error:
            return [MemoryFigure(source="nvml.device", unknown_because=f"NVML: {error}")]
        return [device]


class Meter:
    """Measures steps. ``begin`` before a step, ``add_tokens`` for each batch, ``end`` after it."""

    def __init__(self) -> None:
        self._host = HostPeak()
        self._cuda = torch.cuda.is_available()
        self._nvml = NvmlDevice() if self._cuda else None
        self._tokens: list[torch.Tensor | int] = []
        self._began = time.perf_counter()
        self.seconds = 0.0
        self.tokens = 0

    def begin(self) -> None:
        self._tokens.clear()
        self._host.begin()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        self._began = time.perf_counter()

    def add_tokens(self, inputs: dict[str, torch.Tensor]) -> None:
        """Count a batch's tokens without padding; kept as a tensor, so that the GPU is not waited for here."""
        mask = inputs.get("attention_mask")
        self._tokens.append(inputs["input_ids"].numel() if mask is None else mask.sum())

    def end(self) -> list[MemoryFigure]:
        """Memory figures of the step; afterwards ``seconds`` and ``tokens`` are its own."""
        self.tokens = sum(int(count) for count in self._tokens)
        self.seconds = time.perf_counter() - self._began
        figures = [self._host.figure()]
        if self._cuda:
            figures = [*self._torch_figures(), *(self._nvml.figures() if self._nvml else []), *figures]
        return figures

    def _torch_figures(self) -> list[MemoryFigure]:
        return [
            MemoryFigure(
                source="torch.allocated",
                bytes=torch.cuda.memory_allocated(),
                peak_bytes=torch.cuda.max_memory_allocated(),
            ),
            MemoryFigure(
                source="torch.reserved", bytes=torch.cuda.memory_reserved(), peak_bytes=torch.cuda.max_memory_reserved()
            ),
        ]

    def close(self) -> None:
        self._host.close()
