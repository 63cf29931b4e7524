"""Calls into NVML, NVIDIA's management library. Every error becomes Unknown with a reason in words; nothing here raises."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from tunescope.wire import NO_GPU_DRIVER
from worker.probes.reading import Unknown

T = TypeVar("T")

LOST = pynvml.NVML_ERROR_GPU_IS_LOST
STALE = frozenset({pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_UNKNOWN})
"""What NVML answers once the driver was unloaded or loaded anew under an open session: only opening it again can help."""
UNSUPPORTED = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
    }
)
"""What NVML answers to a question that this driver or GPU does not know."""

WORDS: dict[int, str] = {
    pynvml.NVML_ERROR_UNINITIALIZED: "the NVIDIA driver was unloaded or loaded anew",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "the NVIDIA driver does not tell it of this device",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU does not tell it",
    pynvml.NVML_ERROR_NO_PERMISSION: "no permission to ask the NVIDIA driver for this",
    pynvml.NVML_ERROR_NOT_FOUND: "the NVIDIA driver does not find it",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "a power cable of the GPU is not connected",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded",
    pynvml.NVML_ERROR_TIMEOUT: "the NVIDIA driver did not answer in time",
    pynvml.NVML_ERROR_IRQ_ISSUE: "the NVIDIA driver has a problem with the GPU's interrupts",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: f"{NO_GPU_DRIVER} (libnvidia-ml.so.1 was not found)",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this version of the NVIDIA driver does not tell it",
    pynvml.NVML_ERROR_CORRUPTED_INFOROM: "the GPU's configuration memory is damaged",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU has fallen off the bus; the machine must be restarted",
    pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU must be reset before it can be used again",
    pynvml.NVML_ERROR_OPERATING_SYSTEM: "the operating system keeps the GPU from being used (its cgroup may not allow it)",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was updated under the running worker; "
    "restart the worker, and the machine if that does not help",
    pynvml.NVML_ERROR_IN_USE: "the GPU is being used for something that excludes this",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "this version of the NVIDIA driver does not tell it",
    pynvml.NVML_ERROR_NOT_READY: "the GPU is not ready yet",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "the NVIDIA driver finds no GPU",
    pynvml.NVML_ERROR_UNKNOWN: "the NVIDIA driver failed for a reason that it does not tell (NVML error 999)",
}


def explain(error: BaseException) -> str:
    """What an NVML error means, in words for a person."""
    code = getattr(error, "value", None)
    if isinstance(code, int):
        return WORDS.get(code, f"NVML error {code}")
    return f"{type(error).__name__}: {error}"


def ask(question: Callable[[], T]) -> T | Unknown:
    """The answer to NVML calls, or why there is none."""
    try:
        return question()
    except (pynvml.NVMLError, OSError, AttributeError, UnicodeDecodeError) as error:
        code = getattr(error, "value", None)
        return Unknown(explain(error), code if isinstance(code, int) else None)


def call(name: str, *arguments: Any) -> Any:
    """Call a pynvml function by name: the package carries no types. Raises pynvml.NVMLError."""
    return getattr(pynvml, name)(*arguments)


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
