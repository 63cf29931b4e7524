"""How an attempt's process hears that it is to end."""

import signal


class StopSwitch:
    """Signals that ask for the end: the step at hand is finished, a checkpoint written, the trainer left.

    SIGTERM cancels the job. SIGUSR1 only ends this attempt: the job goes on elsewhere, so nothing is said of its state.
    """

    def __init__(self) -> None:
        self.pressed = False
        self.cancelled = False
        signal.signal(signal.SIGTERM, self._press)
        signal.signal(signal.SIGUSR1, self._press)

    def _press(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            self.cancelled = True
        self.pressed = True
