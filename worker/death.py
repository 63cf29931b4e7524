"""Why a trainer ended without saying so itself: from its exit status and the kernel's memory accounting."""

import signal
from collections.abc import Sequence
from pathlib import Path

from tunescope.events import Failure, FailureMemory
from tunescope.states import FailureReason
from worker.oom import account


def oom_kills(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """How often the kernel killed a process of this control group for lack of memory; None where that is not told."""
    try:
        groups = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return None
    candidates: list[Path] = []
    for _, controllers, path in (group for group in groups if len(group) == 3):
        if controllers == "":
            candidates += [root / path.lstrip("/") / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            candidates += [
                root / "memory" / path.lstrip("/") / "memory.oom_control",
                root / "memory" / "memory.oom_control",
            ]
    for candidate in candidates:
        try:
            for line in candidate.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        except (OSError, ValueError):
            continue
    return None


def explain_death(
    status: int,
    oom_kills_before: int | None,
    oom_kills_after: int | None,
    last_lines: Sequence[str],
    memory: FailureMemory | None = None,
) -> Failure:
    """A Failure for a trainer that ended with ``status`` (negative: the signal) and no last word.

    ``memory`` is what its events told before; it is added where memory is, or may be, the reason.
    """
    shown = "\n".join(list(last_lines)[-8:])
    tail = f"\nLast lines of its log:\n{shown}" if shown else "\nIt had printed nothing."
    killed_for_memory = (
        oom_kills_before is not None and oom_kills_after is not None and oom_kills_after > oom_kills_before
    )
    if status == -signal.SIGKILL and killed_for_memory:
        return Failure(
            reason=FailureReason.OUT_OF_MEMORY,
            detail="The kernel's out-of-memory killer ended the trainer: the machine's main memory (not the GPU's) was full."
            + account(memory)
            + tail,
            memory=memory,
            advice="Use a smaller model, a shorter max_length or quantized weights, or run fewer jobs on this machine.",
        )
    if status == -signal.SIGKILL:
        return Failure(
            reason=FailureReason.TRAINER_KILLED,
            detail="The trainer was killed (SIGKILL). Most often that is the kernel's out-of-memory killer, "
            "when main memory (not the GPU's) is full; it can also be a person or a container limit."
            + account(memory)
            + tail,
            memory=memory,
            advice="Look at the machine's kernel log (dmesg) for 'Out of memory'. Then retry: it continues from the last checkpoint.",
        )
    if status < 0:
        name = (
            signal.Signals(-status).name
            if -status in {member.value for member in signal.Signals}
            else f"signal {-status}"
        )
        reason = (
            FailureReason.TRAINER_KILLED
            if -status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            else FailureReason.TRAINER_CRASHED
        )
        return Failure(
            reason=reason,
            detail=f"The trainer was ended by {name}." + tail,
            advice="The log shows what it was doing. Retry it; if it happens again, report it with the log.",
        )
    return Failure(
        reason=FailureReason.TRAINER_CRASHED,
        detail=f"The trainer ended with exit code {status} without saying why." + tail,
        advice="The log shows what it was doing. Retry it; if it happens again, report it with the log.",
    )
