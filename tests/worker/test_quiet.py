"""What libraries note for programmers stays out of a job's log."""

import logging

import bitsandbytes as bnb
import pytest
import torch
from bitsandbytes.autograd._functions import MatmulLtState

from worker.trainer.quiet import without_notes_to_programmers

SAYS = logging.getLogger("bitsandbytes.autograd._functions")


def test_products_of_int8_weights_are_not_noted_one_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training on a GPU takes this path, and so does answering everywhere: hundreds of lines a step."""
    state = MatmulLtState()
    state.is_training, state.has_fp16_weights = False, False
    rows, weights = torch.ones(4, 64, dtype=torch.bfloat16), torch.ones(64, 64, dtype=torch.bfloat16)
    level = SAYS.level
    # As a process of its own finds it: earlier tests of this one may have silenced it.
    monkeypatch.setattr(SAYS, "disabled", False)
    SAYS.setLevel(logging.NOTSET)
    try:
        bnb.matmul(rows, weights, state=state)
        assert "cast from torch.bfloat16" in caplog.text, "bitsandbytes still says it, under this name"
        caplog.clear()
        without_notes_to_programmers()
        bnb.matmul(rows, weights, state=state)
        assert caplog.text == ""
    finally:
        SAYS.setLevel(level)
