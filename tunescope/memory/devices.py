"""GPUs that an estimate can be made for: total memory as NVML reports it, how much of it CUDA itself takes, what they can do.

Totals are NVML's ``memory.total`` (`nvidia-smi --query-gpu=memory.total`), which is less than the number on the box.
Compute capabilities are those of https://developer.nvidia.com/cuda-gpus.
"""

from dataclasses import dataclass

from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say
from tunescope.units import MIB

HOPPER = (9, 0)


@dataclass(frozen=True)
class Device:
    """One GPU. ``context_bytes`` is a worker's own measurement (NVML's process figure minus torch's reserved bytes)."""

    name: str
    total_bytes: int
    context_bytes: int | None = None
    price_rank: int = 100
    """Order by typical rental price, lower is cheaper: advice only, never money."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability, which decides what its hardware can do; None where it is not known."""

    @property
    def cublas_workspace_bytes(self) -> int:
        """One cuBLAS workspace: 32 MiB on Hopper and later, else 8,519,680 B (PyTorch ``CublasHandlePool.cpp``)."""
        return 32 * MIB if self.capability is not None and self.capability >= HOPPER else 8_519_680

    def context_band(self, known: int | None = None) -> tuple[int, int, int]:
        """(low, expected, high) bytes of CUDA context and libraries outside torch's allocator.

        300 to 500 MB right after start (pytorch#107667, #109888), growing as kernels load lazily; up to 1,960 MiB
        in published A100 runs with NVML's driver reserve counted. It cannot be derived: the middle of that band is
        expected. A worker's own measurement wins, then what is ``known`` of the library versions.
        """
        measured = self.context_bytes if self.context_bytes is not None else known
        if measured is not None:
            margin = measured // (20 if self.context_bytes is not None else 5)
            return measured - margin, measured, measured + margin
        return 450 * MIB, 1205 * MIB, 1960 * MIB


def _gpu(name: str, mib: int, price_rank: int, capability: tuple[int, int]) -> Device:
    return Device(name, mib * MIB, None, price_rank, capability)


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        _gpu("T4-16GB", 15_360, 1, (7, 5)),
        _gpu("RTX3060-12GB", 12_288, 2, (8, 6)),
        _gpu("RTX4060Ti-16GB", 16_380, 3, (8, 9)),
        _gpu("L4-24GB", 23_034, 6, (8, 9)),
        _gpu("A10-24GB", 23_028, 7, (8, 6)),
        _gpu("RTX3090-24GB", 24_576, 4, (8, 6)),
        _gpu("RTX4090-24GB", 24_564, 5, (8, 9)),
        _gpu("V100-32GB", 32_768, 8, (7, 0)),
        _gpu("RTX5090-32GB", 32_607, 9, (12, 0)),
        _gpu("A100-40GB", 40_960, 11, (8, 0)),
        _gpu("L40S-48GB", 46_068, 10, (8, 9)),
        _gpu("A6000-48GB", 49_140, 12, (8, 6)),
        _gpu("A100-80GB", 81_920, 13, (8, 0)),
        _gpu("H100-80GB", 81_559, 14, (9, 0)),
        _gpu("H200-141GB", 143_771, 15, (9, 0)),
        _gpu("B200-180GB", 183_359, 16, (10, 0)),
    )
}
DEFAULT_DEVICE = DEVICES["A100-80GB"]


def device_named(name: str, others: tuple[str, ...] = ()) -> Device:
    """Find a catalogue GPU by name or by NVML's product name (``NVIDIA H100 80GB HBM3``). Raises InvalidInput, which tells ``others``
    among the choices."""
    wanted = _squeeze(name)
    for device in DEVICES.values():
        if _squeeze(device.name) == wanted:
            return device
    model_of = {device.name: _squeeze(device.name.split("-")[0]) for device in DEVICES.values()}
    found = [device for device in DEVICES.values() if model_of[device.name] in wanted]
    if found:
        sized = [device for device in found if _squeeze(device.name.split("-")[1]) in wanted]
        longest = max(len(model_of[device.name]) for device in found)
        best = [device for device in (sized or found) if len(model_of[device.name]) == longest or sized]
        return max(best, key=lambda device: device.total_bytes)
    choices = ", ".join((*others, *DEVICES))
    error = FieldError("gpu", "is unknown", f"use one of {choices}", "unknown_name", {"choices": choices})
    raise InvalidInput(say("no_such_gpu", gpu=name), say("use_one_of", choices=choices), [error])


def _squeeze(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum()).removeprefix("nvidia")
