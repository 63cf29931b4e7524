"""An attempt as its own process sees it, whatever it is to do: its order, its directory, and the way to tell."""

import threading
from pathlib import Path

from tunescope.events import Failure, StageEvent, StateEvent
from tunescope.settings import WorkerSettings
from tunescope.states import JobState
from tunescope.wire import AttemptOrder
from worker.outbox import Outbox
from worker.whereabouts import Trail

SUCCEEDED, FAILED, CANCELLED, LEFT = 0, 1, 3, 4
"""Exit statuses. LEFT says nothing of the job's state: it goes on elsewhere."""


class AttemptUnderWay:
    """What the steps of an attempt share."""

    def __init__(self, order_file: Path, order: AttemptOrder) -> None:
        self.file, self.folder = order_file, order_file.parent
        self.settings = WorkerSettings()
        self.outbox = Outbox(self.folder, job=order.job, attempt=order.attempt)
        self.stage = "starting"
        self.trail = Trail(self.folder)
        self._failing, self._failed = threading.Lock(), False

    def enter(self, stage: str) -> None:
        self.begin(stage)
        self.outbox.emit(StageEvent, stage=stage)

    def begin(self, stage: str) -> None:
        self.stage = stage
        self.trail.tell(stage)

    def fail(self, failure: Failure) -> int:
        """Tell why the attempt failed, once: a thread that watches the other processes may be the first to know."""
        with self._failing:  # whoever comes second may end the process, so it waits until the first has told
            if not self._failed:
                self.outbox.emit(StateEvent, state=JobState.FAILED, failure=failure)
            self._failed = True
        return FAILED

    def download(self, done: int, total: int) -> None:
        """Tell how many bytes of the model are here."""
        self.outbox.emit(StageEvent, stage=self.stage, done=done, total=total)


def left(attempt: AttemptUnderWay, cancelled: bool) -> int:
    """The end of an attempt that was asked to stop; the job goes on elsewhere unless it was cancelled."""
    if not cancelled:
        return LEFT
    attempt.outbox.emit(StateEvent, state=JobState.CANCELLED)
    return CANCELLED
