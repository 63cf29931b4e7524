"""What to say and do after a chat has failed: other than after a training that failed for the same reason."""

from tunescope.events import Failure
from tunescope.sentences import Sentence, say
from tunescope.states import FailureReason

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
    detail = failure.detail_sentence
    if detail is not None and detail.kind == "printed_nothing":
        detail = detail.values["ended"]
    if isinstance(detail, Sentence) and detail.kind in OF_TRAINERS:
        own = say(OF_TRAINERS[detail.kind], **detail.values)
        failure = failure.model_copy(update={"detail": own.text, "detail_sentence": own})
    if failure.reason in KEPT:
        return failure
    advice = say("chat_shorter" if failure.reason is FailureReason.OUT_OF_MEMORY else "chat_start_again")
    return failure.model_copy(update={"advice": advice.text, "advice_sentence": advice})
