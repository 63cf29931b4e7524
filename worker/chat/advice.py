"""What to say and do after a chat has failed: other than after a training that failed for the same reason."""

from tunescope.events import Failure
from tunescope.sentences import say
from tunescope.states import FailureReason
from worker.death import of_another

KEPT = frozenset(
    {
        FailureReason.GPU_LOST,
        FailureReason.INVALID_MODEL,
        FailureReason.MODEL_UNREACHABLE,
        FailureReason.MACHINE_LOST,
    }
)
"""Reasons whose advice is about the machine or the model."""
OF_TRAINERS = {
    "killed": "chat_killed",
    "killed_for_memory": "chat_killed_for_memory",
    "ended_by_signal": "chat_ended_by_signal",
    "ended_with_status": "chat_ended_with_status",
}
"""Kinds of sentences about the end of a trainer's process, and those about a chat's."""


def for_chat(failure: Failure) -> Failure:
    """The failure as one of a chat, which trains nothing and has no checkpoint to go on from."""
    failure = of_another(failure, OF_TRAINERS)
    if failure.reason in KEPT:
        return failure
    advice = say("chat_shorter" if failure.reason is FailureReason.OUT_OF_MEMORY else "chat_start_again")
    return failure.model_copy(update={"advice": advice.text, "advice_sentence": advice})
