"""``python -m worker.trainer ORDER``: one attempt of a job. Load, build the data, train, report."""

import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tunescope.events import Failure, FailureMemory, LogEvent, PlanEvent, StateEvent
from tunescope.sentences import Sentence
from tunescope.states import JobState
from tunescope.wire import Order
from worker.attempt import SUCCEEDED, AttemptUnderWay, left
from worker.hub.refusal import DownloadStopped
from worker.libraries import loading
from worker.stop import StopSwitch
from worker.trainer.quiet import without_notes_to_programmers

if TYPE_CHECKING:
    from worker.trainer.card import Run
    from worker.trainer.other_ranks import OtherRanks

PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate")


class Attempt(AttemptUnderWay):
    """An attempt that trains."""

    def __init__(self, order_file: Path) -> None:
        self.order = Order.model_validate_json(order_file.read_text())
        super().__init__(order_file, self.order)
        self.memory: Callable[[], FailureMemory] | None = None
        """Once there is a trainer: what it knows of its memory now."""
        self.others: OtherRanks | None = None
        """The processes of the other GPUs, where there are several."""

    def lose(self, failure: Failure) -> NoReturn:
        """The end at once, whatever this process waits for: another one, without which it cannot go on, has failed."""
        os._exit(self.fail(failure))


def logged(attempt: Attempt, notes: list[Sentence]) -> list[Sentence]:
    """The notes, now in the log as well."""
    for each in notes:
        attempt.outbox.emit(LogEvent, stream="trainer", line=each.text)
    return notes


def run(attempt: Attempt) -> int:
    # The heavy imports come after the first word, so that the page shows at once that something happens.
    attempt.enter("loading libraries")
    with loading():
        from worker.trainer import artifacts, device, kernels, merge, model, probe

    order = attempt.order
    device.refuse_without_gpu(order.gpus)
    kernels.refuse_without_kernel(order.spec)
    stop = StopSwitch()
    attempt.enter("preparing the demo model" if order.model.kind == "demo" else "fetching the model")
    try:
        folder = model.locate(order.model, attempt.settings.models_dir(), attempt.download, lambda: stop.pressed)
    except DownloadStopped:
        return left(attempt, stop.cancelled)
    if merge.merges(order.spec):
        merge.refuse_unmergeable(folder, attempt.folder)
    if order.spec.placement.probe and not order.resume_from_attempt:
        attempt.enter(probe.STAGE)
        failure = probe.probe_beside(attempt.folder, stop)
        if failure is not None:
            return attempt.fail(failure)
    if stop.cancelled:
        return left(attempt, stop.cancelled)
    made = train_and_save(attempt, folder, stop)
    if isinstance(made, int):
        return made
    if merge.merges(order.spec):
        device.give_back()
        attempt.enter(merge.STAGE)
        failure = merge.merge_beside(attempt.folder, folder, attempt.folder / artifacts.FOLDER, stop)
        if failure is not None:
            return attempt.fail(merge.after_training(failure))
        if stop.pressed:
            return left(attempt, stop.cancelled)
        merge.tell(attempt.folder, made, attempt.outbox)
    attempt.outbox.emit(StateEvent, state=JobState.SUCCEEDED)
    return SUCCEEDED


def train_and_save(attempt: Attempt, folder: Path, stop: StopSwitch) -> "int | Run":
    """The run proper, on the model in ``folder``: what became of it, its files told; or the exit status where it left none."""
    from worker.trainer import answers, arithmetic, artifacts, card, data, device, model, other_ranks, parallel, train
    from worker.trainer.failure import stopped_in_time
    from worker.trainer.ledger.failing import failing_memory
    from worker.trainer.lookout import Lookout
    from worker.trainer.meter.hooks import trained_model
    from worker.trainer.meter.meter import Meter

    order = attempt.order
    spec, note = arithmetic.at_speed(order.spec)
    if parallel.processes(spec) > 1:
        attempt.enter("starting a process for each GPU")
        attempt.others = other_ranks.OtherRanks(order, attempt.file, folder, attempt.lose)
        parallel.join(0, parallel.processes(spec), attempt.folder)
    attempt.enter("loading the model")
    loaded, tokenizer = model.load_model(folder, spec), model.load_tokenizer(folder)
    attempt.enter("building the data")
    rows = data.build_data(attempt.settings.data_dir / order.dataset.path, spec.data, tokenizer, spec.schedule.seed)
    notes = logged(attempt, [*rows.notes, *([note] if note else []), *parallel.notes(spec)])
    measuring = Meter()
    checkpoints = attempt.folder / "checkpoints"
    lookout = Lookout(attempt.outbox, spec.placement.stop_before_oom, parallel.where(order, 0))
    trainer = train.build_trainer(spec, loaded, tokenizer, rows, checkpoints, attempt.outbox, stop, measuring, lookout)
    attempt.memory = lambda: failing_memory(trainer.measuring, measuring)
    notes += logged(attempt, train.left_out(trainer, rows, spec))
    trainable, everything = train.parameter_counts(trained_model(trainer))
    checkpoint = train.checkpoint_to_resume(order, attempt.settings)
    plan = attempt.outbox.emit(
        PlanEvent,
        total_steps=train.planned_steps(trainer),
        train_rows=len(rows.train) if spec.data.packing else train.rows_of(trainer.train_dataset),
        trainable_parameters=trainable,
        all_parameters=everything,
        device=device.device_name(),
        versions={package: version(package) for package in PACKAGES},
        resumed_step=train.step_of(checkpoint) if checkpoint else 0,
        notes=[each.text for each in notes],
        note_sentences=notes,
    )
    attempt.begin("training")
    measuring.listeners.append(lambda phase: attempt.trail.tell(phase, trainer.measuring.step))
    attempt.outbox.emit(StateEvent, state=JobState.RUNNING)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    measuring.close()
    if attempt.others:
        parallel.leave()
        attempt.others.wait()
    if lookout.exhausted and not stop.cancelled:
        return attempt.fail(parallel.failed_on(stopped_in_time(lookout.exhausted, attempt.memory()), order, 0))
    if stop.pressed:
        return left(attempt, stop.cancelled)
    attempt.enter("saving")
    chat = tokenizer.chat_template is not None
    done = card.Run(order, folder, plan, trainer.state.global_step, train.last_loss(trainer), chat)
    artifacts.save(trainer, tokenizer, done, attempt.folder / artifacts.FOLDER, attempt.outbox)
    if spec.schedule.sample_answers:
        attempt.enter(answers.STAGE)
        answers.tell(trainer, tokenizer, rows, done, attempt.folder / artifacts.FOLDER, attempt.outbox, stop)
    attempt.memory = None  # the trainer can go
    return left(attempt, stop.cancelled) if stop.pressed else done


def main() -> int:
    without_notes_to_programmers()
    attempt = Attempt(Path(sys.argv[1]))
    attempt.outbox.emit(StateEvent, state=JobState.STARTING)
    try:
        return run(attempt)
    except Exception as error:
        traceback.print_exc()
        from worker.trainer.failure import explain
        from worker.trainer.other_ranks import is_lost_connection
        from worker.trainer.parallel import OF_ONE_GPU, failed_on

        if attempt.others and is_lost_connection(error):
            attempt.others.yield_to_failure()
        failure = explain(error, attempt.stage, attempt.memory() if attempt.memory else None)
        of_this_gpu = attempt.others and failure.reason in OF_ONE_GPU
        return attempt.fail(failed_on(failure, attempt.order, 0) if of_this_gpu else failure)


if __name__ == "__main__":
    sys.exit(main())
