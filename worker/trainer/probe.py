"""``placement.probe``: three steps on the longest batch that the data hold, in a process of its own, before the run proper.

The process ends before the run loads its model, so the run has fresh weights and all of the memory. Its ledger is told as a
probe's; if memory is too small, that shows now and not at the step that happens to hold the longest rows.
"""

import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from tunescope.events import Failure
from tunescope.sentences import say
from tunescope.settings import WorkerSettings
from tunescope.spec import JobSpec
from tunescope.wire import Order
from worker.outbox import Outbox
from worker.stop import StopSwitch
from worker.trainer import arithmetic, beside, data, model, train
from worker.trainer.failure import explain
from worker.trainer.ledger.failing import failing_memory
from worker.trainer.ledger.measuring import Measuring
from worker.trainer.meter.meter import Meter
from worker.trainer.quiet import without_notes_to_programmers

STEPS = 3
"""The second and third have optimizer states; between them each kind of micro batch meets gradients that accumulate."""
STAGE = "probing the longest batch"


def probe_beside(attempt_dir: Path, stop: StopSwitch) -> Failure | None:
    """Run the probe of an attempt in a process of its own; why the job cannot go on, or None. Ends early with the switch."""
    failure = beside.run_beside(__name__, attempt_dir, stop, STAGE)
    return failure and failure.within(lambda detail: say("in_probe_run", failure=detail))


def shortened(spec: JobSpec) -> JobSpec:
    """The spec for three steps; a second micro batch, if there is one, meets the gradients of the first."""
    accumulation = min(2, spec.batch.gradient_accumulation_steps)
    return spec.model_copy(
        update={
            "batch": spec.batch.model_copy(update={"gradient_accumulation_steps": accumulation}),
            "schedule": spec.schedule.model_copy(update={"max_steps": STEPS, "save_steps": 10**9}),
            "data": spec.data.model_copy(update={"eval_fraction": 0.0}),
        }
    )


def in_order(trainer: Any, rows: Dataset) -> None:
    """Have ``trainer`` take ``rows`` one after the other, so that every micro batch has the rows meant for it."""

    def sampler(*_: Any) -> SequentialSampler:
        return SequentialSampler(rows)

    trainer._get_train_sampler = sampler


def longest_rows(dataset: Any, batch: int, accumulation: int) -> Dataset:
    """The micro batches of all steps, one after the other: the longest rows, in turns all of them and with the shortest as the last.

    Rows of one length fill a batch with tokens; one shorter row adds the mask that padding needs and costs other kernels.
    """
    lengths = [len(tokens) for tokens in dataset["input_ids"]]
    by_length = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    full = (by_length * batch)[:batch] if len(by_length) < batch else by_length[:batch]
    padded = [*full[:-1], by_length[-1]] if batch > 1 else full
    kinds = [full, padded, padded, full, full, padded] if accumulation > 1 else [full, padded, full]
    return dataset.select([row for kind in kinds for row in kind])


class Following(TrainerCallback):
    """Ends the meter's and the ledger's step; says nothing else."""

    def __init__(self, meter: Meter, measuring: Measuring) -> None:
        self._meter, self._measuring = meter, measuring

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._meter.end()
        self._measuring.step_ends(state.global_step)
        control.should_save = False


def probe(order: Order, attempt_dir: Path) -> Failure | None:
    """The three steps; what went wrong in them, or None."""
    settings, spec = WorkerSettings(), shortened(arithmetic.at_speed(order.spec)[0])
    outbox = Outbox(attempt_dir, job=order.job, attempt=order.attempt)
    folder = model.locate(order.model, settings.models_dir(), tell=lambda _done, _total: None, stopped=lambda: False)
    meter = Meter()
    measuring: Measuring | None = None
    try:
        loaded, tokenizer = model.load_model(folder, spec), model.load_tokenizer(folder)
        rows = data.build_data(settings.data_dir / order.dataset.path, spec.data, tokenizer, spec.schedule.seed)
        with tempfile.TemporaryDirectory() as scratch:
            trainer = train.silent_trainer(spec, loaded, tokenizer, rows, Path(scratch), meter)
            batch, accumulation = spec.batch.per_device_train_batch_size, spec.batch.gradient_accumulation_steps
            longest = longest_rows(trainer.train_dataset, batch, accumulation)
            trainer.train_dataset = longest
            in_order(trainer, longest)
            measuring = trainer.measuring = Measuring(trainer, meter, outbox, spec, probe=True)
            trainer.add_callback(Following(meter, measuring))
            trainer.train()
    except Exception as error:
        traceback.print_exc()
        return explain(error, STAGE, failing_memory(measuring, meter) if measuring else None)
    finally:
        meter.close()
        outbox.close()
    return None


def main() -> int:
    without_notes_to_programmers()
    attempt_dir = Path(sys.argv[1])
    failure = probe(Order.model_validate_json((attempt_dir / "order.json").read_text()), attempt_dir)
    return beside.exit_status(__name__, attempt_dir, failure)
