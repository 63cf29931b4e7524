"""A run that goes on from a checkpoint keeps a paged optimizer's states out of the GPU's memory, as the run before did."""

from typing import Any

import pytest
import torch
from bitsandbytes.optim import AdamW, PagedAdamW
from bitsandbytes.optim.optimizer import Optimizer8bit

from worker.trainer.paged import keep_paged

LARGE, SMALL = (400, 300), (4, 3)


def managed(self: Any, parameter: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """``get_state_buffer`` as on a GPU: what is large is paged."""
    buffer = torch.zeros_like(parameter, dtype=dtype)
    if self.is_paged and parameter.numel() >= 1e5:
        buffer.is_paged = True  # pyright: ignore[reportAttributeAccessIssue]
    return buffer


def stepped(kind: Any) -> tuple[Any, list[torch.nn.Parameter]]:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in (LARGE, SMALL)]
    optimizer = kind(parameters, lr=1e-3)
    keep_paged(optimizer)
    return optimizer, parameters


def step(optimizer: Any, parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Optimizer8bit, "get_state_buffer", managed)
    monkeypatch.setattr(Optimizer8bit, "prefetch_state", lambda _self, _parameter: None)
    monkeypatch.setattr("bitsandbytes.optim.optimizer.sync_gpu", lambda _tensor: None)


@pytest.mark.usefixtures("gpu")
def test_large_states_are_paged_again_and_hold_what_was_saved() -> None:
    optimizer, parameters = stepped(PagedAdamW)
    step(optimizer, parameters)
    again, same = stepped(PagedAdamW)
    again.load_state_dict(optimizer.state_dict())
    for parameter, before in zip(same, parameters, strict=True):
        for name in ("state1", "state2"):
            state = again.state[parameter][name]
            assert getattr(state, "is_paged", False) == (parameter.numel() >= 1e5)
            assert torch.equal(state, optimizer.state[before][name]) and state.any()


@pytest.mark.usefixtures("gpu")
def test_other_optimizers_load_as_they_do() -> None:
    optimizer, _ = stepped(AdamW)
    assert "load_state_dict" not in vars(optimizer)


def test_without_a_gpu_nothing_is_paged() -> None:
    optimizer, _ = stepped(PagedAdamW)
    assert "load_state_dict" not in vars(optimizer)
