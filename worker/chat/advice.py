"""What to do after a chat has failed: other than after a training that failed for the same reason."""

from tunescope.events import Failure
from tunescope.sentences import say
from tunescope.states import FailureReason

KEPT = frozenset({FailureReason.GPU_LOST, FailureReason.INVALID_MODEL, FailureReason.MODEL_UNREACHABLE})
"""Reasons whose advice is about the machine or the model."""


def for_chat(failure: Failure) -> Failure:
    """The failure as one of a chat, which has no checkpoint to go on from and no batch to make smaller."""
    told = failure.within(lambda detail: say("chat_ended_by", failure=detail))
    if failure.reason in KEPT or failure.reason is FailureReason.MACHINE_LOST:
        return told
    advice = say("chat_shorter" if failure.reason is FailureReason.OUT_OF_MEMORY else "chat_start_again")
    return told.model_copy(update={"advice": advice.text, "advice_sentence": advice})
