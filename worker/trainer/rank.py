"""``python -m worker.libraries worker.trainer.rank ORDER RANK MODEL``: a process of data-parallel training other than the first (other_ranks.py starts it).

It trains as the first does, and speaks only if it fails.
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
from worker.trainer.failure import explain
from worker.trainer.ledger.failing import failing_memory
from worker.trainer.ledger.measuring import Measuring
from worker.trainer.meter.meter import Meter
from worker.trainer.other_ranks import tell_failure
from worker.trainer.quiet import without_notes_to_programmers


class InStep(TrainerCallback):
    """Keeps step with the first process: gives it the figures of a step, and leaves when it does."""

    def __init__(self, meter: Meter, measuring: Measuring) -> None:
        self._meter, self._measuring = meter, measuring

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        figures = self._meter.end()
        self._measuring.step_ends(state.global_step)
        pressed, _of_all = parallel.together(False, figures, args.device)
        if pressed:
            control.should_training_stop = True
            control.should_save = True


def follow(order: Order, attempt_dir: Path, rank: int, model_dir: Path) -> Failure | None:
    """Train beside the others; why that failed, or None."""
    settings, spec = WorkerSettings(), arithmetic.at_speed(order.spec)[0]
    outbox = Outbox(attempt_dir, job=order.job, attempt=order.attempt)
    meter, measuring = Meter(), None
    stage = "starting a process for each GPU"
    try:
        parallel.join(rank, parallel.processes(spec), attempt_dir)
        stage = "loading the model"
        loaded, tokenizer = model.load_model(model_dir, spec), model.load_tokenizer(model_dir)
        stage = "building the data"
        rows = data.build_data(settings.data_dir / order.dataset.path, spec.data, tokenizer, spec.schedule.seed)
        trainer = train.silent_trainer(spec, loaded, tokenizer, rows, attempt_dir / "checkpoints", meter)
        measuring = trainer.measuring = Measuring(trainer, meter, outbox, spec, follows=False)
        trainer.add_callback(InStep(meter, measuring))
        stage = "training"
        checkpoint = train.checkpoint_to_resume(order, settings)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Exception as error:
        traceback.print_exc()
        return explain(error, stage, failing_memory(measuring, meter) if measuring else None)
    finally:
        meter.close()
    parallel.leave()
    return None


def main() -> int:
    without_notes_to_programmers()
    order_file, rank, model_dir = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    failure = follow(Order.model_validate_json(order_file.read_text()), order_file.parent, rank, model_dir)
    if failure is None:
        return 0
    tell_failure(order_file.parent, rank, failure)
    return 1
