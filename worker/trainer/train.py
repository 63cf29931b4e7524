"""TRL's SFTTrainer with the job's settings, telling every step."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.trainer_utils import IntervalStrategy
from transformers.training_args import TrainingArguments
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from tunescope.events import CheckpointEvent, EvaluationEvent, LogEvent, StepEvent
from tunescope.sentences import Sentence, say
from tunescope.settings import WorkerSettings
from tunescope.spec import JobSpec
from tunescope.states import FailureReason
from tunescope.wire import Order
from worker.outbox import Outbox
from worker.refusal import Refusal
from worker.stop import StopSwitch
from worker.trainer.data import TrainingData
from worker.trainer.ledger.measuring import Measuring
from worker.trainer.lookout import Lookout
from worker.trainer.meter.hooks import mark_phases, trained_model
from worker.trainer.meter.meter import Meter, StepFigures
from worker.trainer.model import cast_adapters, lora_config, needs_autocast
from worker.trainer.paged import keep_paged
from worker.trainer.parallel import together

KEPT_CHECKPOINTS = 2


class MeteredTrainer(SFTTrainer):
    """SFTTrainer that tells its meter of each step, and that keeps all logits where the spec does not ask for the fused loss."""

    measuring: Measuring

    def __init__(self, *, meter: Meter, fused_loss: bool, **options: Any) -> None:
        super().__init__(**options)
        self._meter = meter
        self._fused_loss = fused_loss
        mark_phases(self, meter)

    def create_optimizer(self, *arguments: Any, **options: Any) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(*arguments, **options)
        keep_paged(optimizer)
        return optimizer

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """A step begins here, with its data, before transformers calls ``on_step_begin``."""
        self.measuring.step_begins()
        self._meter.begin()
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if model.training:
            self._meter.enter("forward")
            self._meter.add_batch(inputs)
        if self._fused_loss:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # TRL 1.16 always computes the loss in tiles; transformers' own path keeps the logits, as the spec says.
        return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Without transformers' pickle of its own settings: nothing reads it, and whoever loads a pickle may run its code."""
        super()._save(output_dir, state_dict)
        (Path(output_dir or str(self.args.output_dir)) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _run_epoch(self, *arguments: Any, **options: Any) -> None:
        """Nothing where the checkpoint is of the last step: transformers looks for the end only after another step."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*arguments, **options)

    def _evaluate(self, *arguments: Any, **options: Any) -> Any:
        self._meter.begin("evaluation")
        return super()._evaluate(*arguments, **options)

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        self._meter.begin("checkpoint")
        super()._save_checkpoint(*arguments, **options)


class Telling(TrainerCallback):
    """Turns the trainer's callbacks into events."""

    def __init__(
        self,
        outbox: Outbox,
        meter: Meter,
        measuring: Measuring,
        stop: StopSwitch,
        lookout: Lookout,
        log_every: int,
    ) -> None:
        self._measuring = measuring
        self._lookout = lookout
        self._outbox = outbox
        self._meter = meter
        self._stop = stop
        self._log_every = log_every
        self._figures = StepFigures()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._figures = self._meter.end()
        self._measuring.step_ends(state.global_step)
        if self._lookout.step(state.global_step, self._figures):
            self._stop.pressed = True
        pressed, self._figures = together(self._stop.pressed, self._figures, args.device)
        if pressed:
            control.should_training_stop = True
            control.should_save = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs and "eval_loss" in logs:
            loss, memory = float(logs["eval_loss"]), self._meter.phase_memory()
            self._outbox.emit(EvaluationEvent, step=state.global_step, loss=loss, memory=memory)
            line = f"evaluation after step {state.global_step}/{state.max_steps}  loss {loss:.4f}"
            self._outbox.emit(LogEvent, stream="trainer", line=line)
        if not logs or "loss" not in logs:
            return
        event = self._outbox.emit(
            StepEvent,
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=float(state.epoch or 0),
            loss=float(logs["loss"]),
            learning_rate=logs.get("learning_rate"),
            grad_norm=float(logs["grad_norm"]) if "grad_norm" in logs else None,
            **self._figures.event_fields(),
        )
        if state.global_step % self._log_every == 0 or state.global_step == state.max_steps:
            line = f"step {event.step}/{event.total_steps}  loss {event.loss:.4f}  {event.step_seconds:.2f} s"
            self._outbox.emit(LogEvent, stream="trainer", line=line)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        path, memory = f"checkpoints/checkpoint-{state.global_step}", self._meter.phase_memory()
        self._outbox.emit(CheckpointEvent, step=state.global_step, path=path, memory=memory)


def sft_config(spec: JobSpec, data: TrainingData, checkpoints: Path) -> SFTConfig:
    """The spec in TRL's terms. Steps are logged one by one, whatever ``logging_steps`` says: it only thins the log lines."""
    precision, cuda = spec.precision, torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(checkpoints),
        per_device_train_batch_size=spec.batch.per_device_train_batch_size,
        per_device_eval_batch_size=spec.batch.per_device_train_batch_size,
        gradient_accumulation_steps=spec.batch.gradient_accumulation_steps,
        num_train_epochs=spec.schedule.num_train_epochs,
        max_steps=spec.schedule.max_steps or -1,
        seed=spec.schedule.seed,
        data_seed=spec.schedule.seed,
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=spec.schedule.save_steps,
        save_total_limit=KEPT_CHECKPOINTS,
        eval_strategy="epoch" if data.evaluation is not None else "no",
        optim=spec.optimizer.name,
        learning_rate=spec.optimizer.learning_rate,
        lr_scheduler_type=spec.optimizer.lr_scheduler_type,
        # transformers 5 takes a share below 1 here; exactly 1 would mean one step.
        warmup_steps=min(spec.optimizer.warmup_ratio, 0.999999),
        weight_decay=spec.optimizer.weight_decay,
        max_grad_norm=spec.optimizer.max_grad_norm,
        bf16=precision.dtype == "bfloat16" and needs_autocast(spec),
        fp16=precision.dtype == "float16" and needs_autocast(spec) and cuda,
        use_cpu=not cuda,
        # All that is trained takes part in each step, and what is not trained does not change.
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        gradient_checkpointing=spec.memory_savers.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=spec.data.max_length,
        packing=spec.data.packing,
        assistant_only_loss=data.assistant_only,
        completion_only_loss=None,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=cuda,
    )


def build_trainer(
    spec: JobSpec,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData,
    checkpoints: Path,
    outbox: Outbox,
    stop: StopSwitch,
    meter: Meter,
    lookout: Lookout,
) -> MeteredTrainer:
    """The trainer of the run proper: it tells every step."""
    trainer = silent_trainer(spec, model, tokenizer, data, checkpoints, meter)
    trainer.measuring = Measuring(trainer, meter, outbox, spec)
    trainer.add_callback(Telling(outbox, meter, trainer.measuring, stop, lookout, spec.schedule.logging_steps))
    return trainer


def silent_trainer(
    spec: JobSpec,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData,
    checkpoints: Path,
    meter: Meter,
) -> MeteredTrainer:
    """The trainer without anybody who hears it; ``measuring`` is still to be set."""
    trainer = MeteredTrainer(
        meter=meter,
        fused_loss=spec.memory_savers.fused_loss,
        model=model,
        args=sft_config(spec, data, checkpoints),
        train_dataset=data.train,
        eval_dataset=data.evaluation,
        processing_class=tokenizer,
        peft_config=lora_config(spec.adaptation),
    )
    if rows_of(trainer.train_dataset) == 0:
        # TRL leaves out rows without a label, and torch's own words of an empty data set are of no help.
        detail = say("nothing_to_learn", rows=rows_of(data.train), tokens=spec.data.max_length)
        raise Refusal(FailureReason.INVALID_SETTINGS, detail, say("learn_more_tokens"))
    if data.evaluation is not None and rows_of(trainer.eval_dataset) == 0:
        trainer.args.eval_strategy = IntervalStrategy.NO
    # It prints every step's figures, which are told already, and does not know of ``logging_steps``.
    trainer.remove_callback(PrinterCallback)
    if spec.adaptation.method == "lora":
        cast_adapters(trained_model(trainer), spec.precision)
    return trainer


def rows_of(dataset: Any) -> int:
    return len(dataset)


def left_out(trainer: MeteredTrainer, data: TrainingData, spec: JobSpec) -> list[Sentence]:
    """What a person should know of the rows that TRL left out, since nothing to learn is left of them once they are cut."""
    notes: list[Sentence] = []
    tokens = spec.data.max_length
    given, kept = rows_of(data.train), rows_of(trainer.train_dataset)
    if kept < given and not spec.data.packing:  # packed rows are fewer in any case
        notes.append(say("nothing_learned_of_rows", left_out=given - kept, rows=given, tokens=tokens))
    if data.evaluation is not None and rows_of(trainer.eval_dataset) == 0:
        notes.append(say("no_evaluation_left", tokens=tokens))
    return notes


def checkpoint_to_resume(order: Order, settings: WorkerSettings) -> Path | None:
    """Where the attempt before this one stopped; None where there is none to go on from, or it left no checkpoint."""
    if not order.resume_from_attempt:
        return None
    return last_checkpoint(settings.attempt_dir(order.job, order.resume_from_attempt) / "checkpoints")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint: the trainer's state is written last."""
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(found, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written, by its name."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """(trainable, all) parameters; 4-bit weights count as what they stand for."""
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    everything = sum(
        parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1) for parameter in model.parameters()
    )
    return trainable, everything


def planned_steps(trainer: SFTTrainer) -> int:
    """Optimizer steps of the whole run, as transformers counts them."""
    if trainer.args.max_steps > 0:
        return trainer.args.max_steps
    batches = len(trainer.get_train_dataloader())
    per_epoch = max(1, -(-batches // trainer.args.gradient_accumulation_steps))
    return math.ceil(trainer.args.num_train_epochs * per_epoch)


def last_loss(trainer: SFTTrainer) -> float | None:
    """The training loss as last logged; None where it is no number, or none was logged."""
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return float(logged[-1]) if logged and math.isfinite(logged[-1]) else None
