"""A short run of the real trainer in this process, for what it measures."""

from pathlib import Path
from typing import Any

from tunescope.events import JobEvent
from tunescope.spec import JobSpec, parse_spec
from worker.outbox import Outbox, read_events


def spec_of(**sections: Any) -> JobSpec:
    return parse_spec(
        {
            "model": {"id": "tiny", "source": "library"},
            "data": {"dataset": "rows", "max_length": 64},
            "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
            "precision": {"quantization": "none"},
            "schedule": {"max_steps": 3, "save_steps": 1000},
            **sections,
        }
    )


def run(model_folder: Path, rows: Path, folder: Path, spec: JobSpec) -> list[JobEvent]:
    """Train as the child process does, and give back what was told."""
    from worker.stop import StopSwitch
    from worker.trainer import data, model, train
    from worker.trainer.lookout import Lookout
    from worker.trainer.meter.meter import Meter

    loaded, tokenizer = model.load_model(model_folder, spec), model.load_tokenizer(model_folder)
    built = data.build_data(rows, spec.data, tokenizer, spec.schedule.seed)
    outbox, meter = Outbox(folder, job="j", attempt=1), Meter()
    lookout = Lookout(outbox, spec.placement.stop_before_oom, lambda said: said)
    trainer = train.build_trainer(spec, loaded, tokenizer, built, folder, outbox, StopSwitch(), meter, lookout)
    try:
        trainer.train()
    finally:
        meter.close()
        outbox.close()
    return list(read_events(folder))
