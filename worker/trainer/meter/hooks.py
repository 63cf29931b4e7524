"""Marks the phases of transformers' training loop, from outside: hooks on the model and the accelerator.

``data`` begins with the step, ``forward`` with the loss computation; the rest is found here: ``loss`` when the decoder has
given its hidden states, ``backward`` around accelerate's backward, ``optimizer`` (with clipping) after the last of them.
"""

from typing import Any

import torch
from transformers import Trainer

from worker.trainer.meter.meter import Meter


def trained_model(trainer: Trainer) -> torch.nn.Module:
    """The model of ``trainer``, which transformers types as one that may be missing."""
    assert isinstance(trainer.model, torch.nn.Module)
    return trainer.model


def optimizer_of(trainer: Trainer) -> torch.optim.Optimizer | None:
    """The optimizer of ``trainer``, accelerate's wrapper around it or not; None before training begins."""
    return trainer.optimizer if isinstance(trainer.optimizer, torch.optim.Optimizer) else None


def decoder_of(model: torch.nn.Module) -> torch.nn.Module | None:
    """The part of a causal model that ends with hidden states, under an adapter or not; None if it has no such part."""
    inner: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # pyright: ignore[reportCallIssue]
    found = getattr(inner, getattr(inner, "base_model_prefix", ""), None)
    return found if isinstance(found, torch.nn.Module) and found is not inner else None


def mark_phases(trainer: Trainer, meter: Meter) -> None:
    """Have ``trainer`` tell ``meter`` of the phases within its training step."""
    decoder = decoder_of(trained_model(trainer))

    def hidden(_module: torch.nn.Module, _arguments: Any, _output: Any) -> None:
        if meter.phase == "forward":
            meter.enter("loss")

    if decoder is not None:
        decoder.register_forward_hook(hidden)
    accelerator: Any = trainer.accelerator
    run_backward = accelerator.backward

    def backward(loss: torch.Tensor, **options: Any) -> None:
        meter.enter("backward")
        run_backward(loss, **options)
        meter.enter("optimizer" if accelerator.sync_gradients else "data")

    accelerator.backward = backward
