"""How a GPU is doing by NVML: why it slows down, its memory errors, and the faults (Xids) that the driver reports."""

import ctypes
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml

from tunescope.sentences import say
from tunescope.sentences.templates import XIDS
from tunescope.wire import GpuXid
from worker.probes.nvml_calls import UNSUPPORTED, ask, call
from worker.probes.reading import Unknown

log = logging.getLogger(__name__)

THROTTLING: dict[int, str] = {
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "clocks_limited_by_setting",
    pynvml.nvmlClocksEventReasonSwPowerCap: "power_limit",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware_slowdown",
    pynvml.nvmlClocksEventReasonSyncBoost: "sync_boost",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "temperature_software",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "temperature_hardware",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power_brake",
    pynvml.nvmlClocksEventReasonDisplayClockSetting: "display_clocks",
}
"""Bits of NVML's clock event reasons. "Idle" is left out: a GPU without work is not slowed down."""

KEPT_XIDS = 10


def throttling(handle: Any) -> tuple[str, ...]:
    """Names (keys of wire.THROTTLING_WORDS) of what slows the GPU's clocks now. Raises pynvml.NVMLError."""
    bits = ask(lambda: int(call("nvmlDeviceGetCurrentClocksEventReasons", handle)))
    if isinstance(bits, Unknown):  # the name before driver 535
        bits = int(call("nvmlDeviceGetCurrentClocksThrottleReasons", handle))
    return tuple(name for bit, name in THROTTLING.items() if bits & bit)


def uncorrected_errors(handle: Any, counter: int) -> int:
    """Uncorrected memory errors, NVML_VOLATILE_ECC since the driver was loaded or NVML_AGGREGATE_ECC ever. Raises NVMLError."""
    return int(call("nvmlDeviceGetTotalEccErrors", handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, counter))


@dataclass(frozen=True)
class Watched:
    """Whether the faults of a GPU are being listened for, and if not, why."""

    unknown: Unknown | None = None


class XidWatch:
    """Listens for faults. One event set of one NVML session: after that is opened anew, ``start`` again."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._set: Any = None
        self._watched: dict[str, Watched] = {}
        self._seen: dict[str, deque[GpuXid]] = {}
        self._by_address: dict[int | None, str] = {}
        """UUIDs by handle: a GPU that has just been lost does not tell its own any more, and its fault matters most."""

    def start(self, handles: Mapping[str, Any]) -> None:
        """Listen to these GPUs, by UUID, from now on; what was heard before is kept."""
        self.stop()
        made = ask(lambda: call("nvmlEventSetCreate"))
        if isinstance(made, Unknown):
            self._watched = {uuid: Watched(made) for uuid in handles}
            return
        self._set = made
        self._by_address = {_address(handle): uuid for uuid, handle in handles.items()}
        for uuid, handle in handles.items():
            answer = ask(lambda handle=handle: self._register(handle))
            self._watched[uuid] = Watched(answer if isinstance(answer, Unknown) else None)

    def stop(self) -> None:
        if self._set is not None:
            ask(lambda: call("nvmlEventSetFree", self._set))
        self._set = None
        self._watched = {}

    def poll(self) -> None:
        """Note what has happened since the last call; does not wait."""
        while self._set is not None:
            event = ask(lambda: call("nvmlEventSetWait_v2", self._set, 0))
            if isinstance(event, Unknown):
                if event.code in UNSUPPORTED:
                    self.stop()
                return
            uuid = self._by_address.get(_address(event.device))
            if uuid and int(event.eventType) == pynvml.nvmlEventTypeXidCriticalError:
                self._note(uuid, int(event.eventData))

    def seen(self, uuid: str) -> tuple[GpuXid, ...] | Unknown:
        """Faults of a GPU, oldest first, or why they are not known."""
        kept = tuple(self._seen.get(uuid, ()))
        reason = self._watched.get(uuid, Watched()).unknown
        return reason if reason and not kept else kept

    def _register(self, handle: Any) -> None:
        call("nvmlDeviceRegisterEvents", handle, pynvml.nvmlEventTypeXidCriticalError, self._set)

    def _note(self, uuid: str, code: int) -> None:
        meaning = say(f"xid_{code}" if f"xid_{code}" in XIDS else "xid_other")
        log.warning("GPU %s: Xid %d, %s", uuid, code, meaning.text)
        kept = self._seen.setdefault(uuid, deque(maxlen=KEPT_XIDS))
        kept.append(GpuXid(code=code, at=self._clock(), meaning=meaning.text, meaning_sentence=meaning))


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
