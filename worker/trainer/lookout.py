"""Looks out for the end of memory: each process of a job after each step, on the GPU that it has."""

from collections.abc import Callable

from tunescope.events import WarningEvent
from tunescope.sentences import Sentence
from worker.outbox import Outbox
from worker.trainer.meter.meter import StepFigures
from worker.trainer.watch import Watch
from worker.trainer.watched import facts_of


class Lookout:
    """Tells what ``Watch`` finds. Several processes may tell into one outbox."""

    def __init__(self, outbox: Outbox, stop_in_time: bool, where: Callable[[Sentence], Sentence]) -> None:
        """``where`` says of a sentence which GPU it is about, if the job has several. ``stop_in_time``: see ``step``."""
        self._watch = Watch()
        self._outbox, self._stop_in_time, self._where = outbox, stop_in_time, where
        self.exhausted: Sentence | None = None
        """Why training has to end now: memory is about to run out, and the spec has it stop before."""

    def step(self, step: int, figures: StepFigures) -> bool:
        """Tell of climbs. Whether to end with this step, which is only where ``stop_in_time`` says so."""
        for finding in self._watch.step(facts_of(step, figures)):
            said = self._where(finding.sentence)
            self._outbox.emit(
                WarningEvent,
                code=finding.code,
                step=step,
                message=said.text,
                message_sentence=said,
                figures=finding.figures,
            )
            if finding.exhausting and self._stop_in_time:
                self.exhausted = finding.sentence
        return self.exhausted is not None
