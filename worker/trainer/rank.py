"""``python -m worker.libraries worker.trainer.rank ORDER RANK MODEL``: a process of data-parallel training other than the first (other_ranks.py starts it).

It trains as the first does, and speaks only of the memory of its own GPU, and if it fails.
"""

import sys
import traceback
from pathlib import Path

from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from tunescope.events import Failure
from tunescope.settings import WorkerSettings
from tunescope.wire import Order
from worker.outbox import Outbox
from worker.trainer import arithmetic, data, model, parallel, train
from worker.trainer.failure import explain, stopped_in_time
from worker.trainer.ledger.failing import failing_memory
from worker.trainer.ledger.measuring import Measuring
from worker.trainer.lookout import Lookout
from worker.trainer.meter.meter import Meter
from worker.trainer.other_ranks import tell_failure
from worker.trainer.quiet import without_notes_to_programmers
from worker.whereabouts import Trail, last_whereabouts


class InStep(TrainerCallback):
    """Keeps step with the first process: gives it the figures of a step, and leaves when any of them wants to."""

    def __init__(self, meter: Meter, measuring: Measuring, lookout: Lookout) -> None:
        self._meter, self._measuring, self._lookout = meter, measuring, lookout

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        figures = self._meter.end()
        self._measuring.step_ends(state.global_step)
        exhausted = self._lookout.step(state.global_step, figures)
        pressed, _of_all = parallel.together(exhausted, figures, args.device)
        if pressed:
            control.should_training_stop = True
            control.should_save = True


def follow(order: Order, attempt_dir: Path, rank: int, model_dir: Path) -> Failure | None:
    """Train beside the others; why that failed, or None."""
    settings, spec = WorkerSettings(), arithmetic.at_speed(order.spec)[0]
    outbox, trail = Outbox(attempt_dir, job=order.job, attempt=order.attempt), Trail(attempt_dir, rank)
    lookout = Lookout(outbox, spec.placement.stop_before_oom, parallel.where(order, rank))
    meter, measuring = Meter(), None
    try:
        trail.tell("starting a process for each GPU")
        parallel.join(rank, parallel.processes(spec), attempt_dir)
        trail.tell("loading the model")
        loaded, tokenizer = model.load_model(model_dir, spec), model.load_tokenizer(model_dir)
        trail.tell("building the data")
        rows = data.build_data(settings.data_dir / order.dataset.path, spec.data, tokenizer, spec.schedule.seed)
        trainer = train.silent_trainer(spec, loaded, tokenizer, rows, attempt_dir / "checkpoints", meter)
        measuring = trainer.measuring = Measuring(trainer, meter, outbox, spec, tells=False)
        trainer.add_callback(InStep(meter, measuring, lookout))
        trail.tell("training")
        meter.listeners.append(lambda phase: trail.tell(phase, trainer.measuring.step))
        checkpoint = train.checkpoint_to_resume(order, settings)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        parallel.leave()
        return stopped_in_time(lookout.exhausted, failing_memory(measuring, meter)) if lookout.exhausted else None
    except Exception as error:
        traceback.print_exc()
        return explain(
            error, last_whereabouts(attempt_dir, rank).stage, failing_memory(measuring, meter) if measuring else None
        )
    finally:
        meter.close()


def main() -> int:
    without_notes_to_programmers()
    order_file, rank, model_dir = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    failure = follow(Order.model_validate_json(order_file.read_text()), order_file.parent, rank, model_dir)
    if failure is None:
        return 0
    tell_failure(order_file.parent, rank, failure)
    return 1
