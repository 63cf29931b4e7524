"""An attempt that cannot go on, said by whoever finds out."""

from tunescope.events import Failure
from tunescope.sentences import Sentence
from tunescope.states import FailureReason


class Refusal(Exception):
    """The attempt cannot go on; ``failure`` says why and what to do."""

    def __init__(self, reason: FailureReason, detail: Sentence, advice: Sentence) -> None:
        super().__init__(detail.text)
        self.failure = Failure.of(reason, detail, advice)
