"""The effective batch: how many rows one optimizer step learns from. It decides what is learned, and costs no memory by itself."""

from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec


def effective_batch(spec: JobSpec) -> int:
    """Rows an optimizer step: micro batch x accumulation x GPUs, since every strategy here splits the data among all GPUs."""
    return spec.batch.per_device_train_batch_size * spec.batch.gradient_accumulation_steps * spec.parallelism.gpus


def effective_batch_sentence(spec: JobSpec) -> Sentence:
    gpus = spec.parallelism.gpus
    return say(
        "effective_batch" if gpus == 1 else "effective_batch_on_several",
        micro=spec.batch.per_device_train_batch_size,
        steps=spec.batch.gradient_accumulation_steps,
        gpus=gpus,
        rows=effective_batch(spec),
    )


def smaller_micro_batch(spec: JobSpec, most_steps: int) -> tuple[int, int] | None:
    """The largest micro batch of at most half the size that keeps the effective batch exactly, and its accumulation steps.

    None where there is none with at most ``most_steps`` steps.
    """
    micro, steps = spec.batch.per_device_train_batch_size, spec.batch.gradient_accumulation_steps
    rows = micro * steps
    for smaller in range(micro // 2, 0, -1):
        if rows % smaller == 0:
            return (smaller, rows // smaller) if rows // smaller <= most_steps else None
    return None
