"""What to say and do after a merge has failed: other than after a training that failed for the same reason."""

from tunescope.events import Failure
from tunescope.sentences import say
from tunescope.states import FailureReason
from worker.death import of_another

KEPT = frozenset({FailureReason.INVALID_MODEL, FailureReason.MODEL_UNREACHABLE, FailureReason.MACHINE_LOST})
"""Reasons whose advice is about the machine or the model."""
ADVICE = {
    FailureReason.INVALID_SETTINGS: say("train_plain_release"),
    FailureReason.OUT_OF_MEMORY: say("merge_needs_room"),
    FailureReason.TRAINER_KILLED: say("merge_needs_room"),
    FailureReason.DISK_FULL: say("free_space_to_merge"),
}
OF_TRAINERS = {
    "killed": "merge_killed",
    "killed_for_memory": "merge_killed_for_memory",
    "ended_by_signal": "merge_ended_by_signal",
    "ended_with_status": "merge_ended_with_status",
}
"""Kinds of sentences about the end of a trainer's process, and those about a merge's."""


def for_merge(failure: Failure) -> Failure:
    """The failure as one of a merge, which trains nothing and can be asked for again."""
    failure = of_another(failure, OF_TRAINERS)
    if failure.reason in KEPT:
        return failure
    advice = ADVICE.get(failure.reason, say("merge_later"))
    return failure.model_copy(update={"advice": advice.text, "advice_sentence": advice})
