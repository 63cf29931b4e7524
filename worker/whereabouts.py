"""Where a trainer is, in a few bytes of a file that outlive it however it ends: its supervisor reads them after a kill.

The file is mapped into memory: telling costs no system call, so that it can be done at each phase of a step.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tunescope.memory.trace import Phase

_RECORD = struct.Struct("<q56s")
"""The step at hand, or ``_BEFORE``; the name of the phase or stage, filled up with zeros."""
_BEFORE = -1


@dataclass(frozen=True)
class Whereabouts:
    """In ``phase`` of ``step`` if there is a step at hand, else in ``stage`` of the attempt."""

    stage: str = "training"
    step: int | None = None
    phase: Phase | None = None


def file_of(attempt_dir: Path, rank: int) -> Path:
    """Where a process of an attempt tells it; the trainer itself is 0, those of its other GPUs follow."""
    return attempt_dir / (f"whereabouts-{rank}" if rank else "whereabouts")


class Trail:
    """The trainer's side."""

    def __init__(self, attempt_dir: Path, rank: int = 0) -> None:
        path = file_of(attempt_dir, rank)
        path.write_bytes(bytes(_RECORD.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _RECORD.size)

    def tell(self, name: str, step: int | None = None) -> None:
        """Here the stage or, within a step, the phase ``name`` begins."""
        _RECORD.pack_into(self._map, 0, _BEFORE if step is None else step, name.encode())


def last_whereabouts(attempt_dir: Path, rank: int = 0) -> Whereabouts:
    """What was told last; that it trained, where nothing was."""
    try:
        step, said = _RECORD.unpack(file_of(attempt_dir, rank).read_bytes())
    except (OSError, struct.error):
        return Whereabouts()
    name = said.rstrip(b"\0").decode(errors="replace")
    if step == _BEFORE:
        return Whereabouts(stage=name)
    phase: Phase | None = next((known for known in get_args(Phase) if known == name), None)
    return Whereabouts(step=step, phase=phase) if phase else Whereabouts()
