"""Why a trainer ended without saying so itself: from its exit status and the kernel's memory accounting."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunescope.events import Failure, FailureMemory
from tunescope.sentences import Sentence, say
from tunescope.states import FailureReason
from worker.cuda_words import bitsandbytes_said, says_gpu_lost, says_out_of_memory
from worker.oom import account, moment


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
    stage: str = "training",
) -> Failure:
    """A Failure for a trainer that ended with ``status`` (negative: the signal) and no last word.

    ``memory`` is what its events told before; it is added where memory is, or may be, the reason. ``stage`` of the attempt in which
    that was, if not within a step.
    """
    shown = list(last_lines)[-8:]
    tail = "\n".join(["\nLast lines of its log:", *shown]) if shown else ""

    def told(ended: Sentence) -> Sentence:
        return ended if shown else say("printed_nothing", ended=ended)

    killed_for_memory = (
        oom_kills_before is not None and oom_kills_after is not None and oom_kills_after > oom_kills_before
    )
    if status == -signal.SIGKILL:
        more = account(memory) + tail
        if killed_for_memory:
            detail, advice = say("killed_for_memory", when=moment(memory, stage)), say("need_less_main_memory")
            return Failure.of(FailureReason.OUT_OF_MEMORY, told(detail), advice, memory, more=more, last_lines=shown)
        detail, advice = say("killed", when=moment(memory, stage)), say("see_kernel_log")
        return Failure.of(FailureReason.TRAINER_KILLED, told(detail), advice, memory, more=more, last_lines=shown)
    of_cuda = next((said for line in reversed(shown) if (said := bitsandbytes_said(line))), "") if status > 0 else ""
    if says_out_of_memory(of_cuda) or says_gpu_lost(of_cuda):
        full = says_out_of_memory(of_cuda)
        detail = say("out_of_memory" if full else "gpu_failed", when=moment(memory, stage), said=of_cuda)
        reason = FailureReason.OUT_OF_MEMORY if full else FailureReason.GPU_LOST
        return Failure.of(reason, detail, say("shorten" if full else "see_gpu"), more=tail, last_lines=shown)
    asked_to_end = -status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    return Failure.of(
        FailureReason.TRAINER_KILLED if asked_to_end else FailureReason.TRAINER_CRASHED,
        told(
            say("ended_by_signal", signal=name_of(-status)) if status < 0 else say("ended_with_status", status=status)
        ),
        say("retry_or_report"),
        more=tail,
        last_lines=shown,
    )


def of_another(failure: Failure, kinds: Mapping[str, str]) -> Failure:
    """The failure of a process that is no trainer: what is said of a trainer's end, by its kind, as it is said of that one's."""
    detail = failure.detail_sentence
    if detail is not None and detail.kind == "printed_nothing":
        detail = detail.values["ended"]
    if not isinstance(detail, Sentence) or detail.kind not in kinds:
        return failure
    own = say(kinds[detail.kind], **detail.values)
    return failure.model_copy(update={"detail": own.text, "detail_sentence": own})


def name_of(number: int) -> str:
    """SIGSEGV for 11; a real-time signal has no name of its own."""
    known = {member.value for member in signal.Signals}
    return signal.Signals(number).name if number in known else f"signal {number}"
