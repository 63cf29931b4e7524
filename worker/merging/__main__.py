"""``python -m worker.merging ORDER``: merge what a job has trained into its model. Fetch the model, merge, tell the files."""

import shutil
import sys
import traceback
from pathlib import Path

from tunescope.events import StateEvent
from tunescope.sentences import say
from tunescope.states import FailureReason, JobState
from tunescope.wire import MergeOrder
from worker.attempt import SUCCEEDED, AttemptUnderWay, left
from worker.hub.refusal import DownloadStopped
from worker.libraries import loading
from worker.merging.advice import for_merge
from worker.refusal import Refusal
from worker.stop import StopSwitch
from worker.trainer.quiet import without_notes_to_programmers


class Merge(AttemptUnderWay):
    """A merge under way."""

    def __init__(self, order_file: Path) -> None:
        self.order = MergeOrder.model_validate_json(order_file.read_text())
        super().__init__(order_file, self.order)


def run(attempt: Merge) -> int:
    attempt.enter("loading libraries")
    with loading():
        from worker.trainer import card, merge, model

    order, stop = attempt.order, StopSwitch()
    for earlier in range(1, order.attempt):  # whose process was killed while it wrote
        shutil.rmtree(attempt.settings.attempt_dir(order.job, earlier) / merge.RESULT, ignore_errors=True)
    adapter = attempt.settings.data_dir / order.merge.result
    if not adapter.is_dir():
        raise Refusal(FailureReason.MACHINE_LOST, say("chat_result_gone", folder=str(adapter)), say("chat_share_data"))
    attempt.enter("preparing the demo model" if order.model.kind == "demo" else "fetching the model")
    try:
        base = model.locate(order.model, attempt.settings.models_dir(), attempt.download, lambda: stop.pressed)
    except DownloadStopped:
        return left(attempt, stop.cancelled)
    merge.refuse_unmergeable(base, attempt.folder)
    attempt.enter(merge.STAGE)
    attempt.outbox.emit(StateEvent, state=JobState.RUNNING)
    failure = merge.merge_beside(attempt.folder, base, adapter, stop)
    if failure is not None:
        return attempt.fail(for_merge(failure))
    if stop.pressed:
        return left(attempt, stop.cancelled)
    chat = model.load_tokenizer(adapter).chat_template is not None
    done = card.Run(order, base, order.merge.plan, order.merge.steps, order.merge.loss, chat)
    merge.tell(attempt.folder, done, attempt.outbox)
    attempt.outbox.emit(StateEvent, state=JobState.SUCCEEDED)
    return SUCCEEDED


def main() -> int:
    without_notes_to_programmers()
    attempt = Merge(Path(sys.argv[1]))
    attempt.outbox.emit(StateEvent, state=JobState.STARTING)
    try:
        return run(attempt)
    except Exception as error:
        traceback.print_exc()
        from worker.trainer.failure import explain

        return attempt.fail(for_merge(explain(error, attempt.stage)))


if __name__ == "__main__":
    sys.exit(main())
