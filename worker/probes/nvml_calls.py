"""Calls into NVML, NVIDIA's management library. Every error becomes Unknown with a reason in words; nothing here raises."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from tunescope.sentences import Sentence, say
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

KINDS: dict[int, str] = {
    pynvml.NVML_ERROR_UNINITIALIZED: "driver_restarted",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "not_told_of_device",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not_told_by_gpu",
    pynvml.NVML_ERROR_NO_PERMISSION: "no_permission",
    pynvml.NVML_ERROR_NOT_FOUND: "not_found",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "no_power_cable",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver_not_loaded",
    pynvml.NVML_ERROR_TIMEOUT: "driver_timeout",
    pynvml.NVML_ERROR_IRQ_ISSUE: "interrupt_problem",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no_driver",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "not_told_by_driver",
    pynvml.NVML_ERROR_CORRUPTED_INFOROM: "inforom_damaged",
    pynvml.NVML_ERROR_GPU_IS_LOST: "gpu_off_the_bus",
    pynvml.NVML_ERROR_RESET_REQUIRED: "gpu_reset_needed",
    pynvml.NVML_ERROR_OPERATING_SYSTEM: "kept_by_system",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver_updated",
    pynvml.NVML_ERROR_IN_USE: "gpu_in_other_use",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "not_told_by_driver",
    pynvml.NVML_ERROR_NOT_READY: "gpu_not_ready",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "no_gpu_found",
    pynvml.NVML_ERROR_UNKNOWN: "driver_failed",
}
"""What NVML's errors mean: kinds of sentences."""


def explain(error: BaseException) -> Sentence:
    """What an NVML error means, in words for a person."""
    code = getattr(error, "value", None)
    if isinstance(code, int):
        return say(KINDS[code]) if code in KINDS else say("nvml_error", code=code)
    return say("nvml_raised", error=type(error).__name__, said=str(error))


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
