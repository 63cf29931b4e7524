"""The follower of live storages, to the byte, on real CPU tensors."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from worker.tracer.follower import Follower, counted_as


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def exact(record: bool = False) -> Follower:
    return Follower("cpu", round_to=1, record=record)


def test_a_tensor_is_born_once_and_dies_once() -> None:
    follower = exact(record=True)
    with follower:
        tensor = torch.empty(1000, dtype=torch.float32)
        view = tensor.view(10, 100)[3]
        assert follower.current == 4000
        del tensor
        assert follower.current == 4000, "the view keeps the storage alive"
        del view
    assert follower.current == 0
    assert [(event.kind, event.bytes) for event in follower.events or []] == [("malloc", 4000), ("free", 4000)]


def test_death_after_the_mode_was_left_is_seen() -> None:
    follower = exact()
    with follower:
        tensor = torch.zeros(7, dtype=torch.int64)
    assert follower.current == 56
    del tensor
    assert follower.current == 0


def test_cuda_rounding_and_exact_bytes() -> None:
    rounded = Follower("cpu")
    with rounded:
        keep = [torch.empty(1, dtype=torch.uint8), torch.empty(513, dtype=torch.uint8)]
    assert rounded.current == 512 + 1024
    del keep


def test_only_the_named_device_is_followed() -> None:
    follower = Follower("meta")
    with follower:
        on_cpu = torch.empty(100)
        on_meta = torch.empty(100, device="meta")
    assert follower.current == 512
    del on_cpu, on_meta


def test_a_training_step_of_a_linear_layer_to_the_byte() -> None:
    layer = torch.nn.Linear(64, 32, bias=False)
    inputs = torch.randn(16, 64)
    optimizer = torch.optim.AdamW(layer.parameters(), foreach=False, fused=False)
    follower = exact()
    follower.register_model(layer, "weights")
    follower.register(inputs, "activations")
    weight, x, y = 4 * 64 * 32, 4 * 16 * 64, 4 * 16 * 32
    assert follower.by_category == {"weights": weight, "activations": x}
    with follower, follower.gradients_of(layer):
        follower.enter("forward", "forward_end", "activations")
        out = layer(inputs).relu()
        assert follower.by_category["activations"] == x + y, "relu keeps its output, the product died"
        loss = out.sum()
        assert follower.current == weight + x + y + 4
        follower.enter("backward", "loss_backward", "activations")
        loss.backward()
        assert follower.by_category["gradients"] == weight
        del out, loss
        follower.enter("optimizer", "optimizer_step", "workspace")
        optimizer.step()
        follower.register_optimizer(optimizer)
        # exp_avg and exp_avg_sq, and a step counter of one fp32
        assert follower.by_category["optimizer_states"] == 2 * weight + 4
        optimizer.zero_grad(set_to_none=True)
    assert follower.current == weight + x + 2 * weight + 4
    assert follower.by_category["gradients"] == 0
    assert follower.site_peaks["forward_end"] == weight + x + 2 * y


def test_what_becomes_a_gradient_counts_as_one_in_the_peak_too() -> None:
    layer = torch.nn.Linear(256, 256, bias=False)
    inputs = torch.randn(1, 256)
    follower = exact(record=True)
    follower.register_model(layer, "weights")
    with follower, follower.gradients_of(layer):
        follower.enter("backward", "loss_backward", "activations")
        layer(inputs).sum().backward()
    assert follower.peak_by_category["gradients"] == 4 * 256 * 256
    assert sum(follower.peak_by_category.values()) == follower.peak
    assert [event.category for event in follower.events or [] if event.kind == "retag"] == ["gradients"]


def test_categories_always_sum_to_what_is_live() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.GELU(), torch.nn.Linear(64, 8))
    follower = exact()
    follower.register_model(model, "adapters")
    with follower, follower.gradients_of(model):
        follower.enter("forward", "forward_end", "activations")
        hidden = checkpoint(model, torch.randn(4, 32), use_reentrant=False)
        assert sum(follower.by_category.values()) == follower.current
        follower.enter("backward", "loss_backward", "logits_and_loss")
        hidden.sum().backward()
    assert sum(follower.by_category.values()) == follower.current
    assert sum(follower.peak_by_category.values()) == follower.peak


def test_casts_of_weights_are_workspace_and_kernels_name_their_own() -> None:
    weight = torch.nn.Parameter(torch.randn(8, 8))
    follower = exact()
    follower.register(weight.data, "master_weights")
    with follower:
        follower.enter("forward", "forward_end", "activations")
        cast = weight.to(torch.bfloat16)
        with counted_as("workspace"):
            scratch = torch.empty(10)
        kept = torch.empty(3)
    assert follower.by_category["workspace"] == 8 * 8 * 2 + 40
    assert follower.by_category["activations"] == 12
    del cast, scratch, kept


def test_a_resized_storage_takes_the_new_piece_before_it_gives_the_old_one_back() -> None:
    follower = exact(record=True)
    with follower:
        tensor = torch.empty(10)
        tensor.resize_(20)
    assert follower.current == 80
    assert follower.peak == 120
    assert [(event.kind, event.bytes) for event in follower.events or []] == [
        ("malloc", 40), ("malloc", 80), ("free", 40),
    ]  # fmt: skip


def test_peaks_can_start_again_from_what_lives() -> None:
    follower = exact()
    with follower:
        big = torch.empty(1000)
        del big
        small = torch.empty(10)
        follower.reset_peaks()
        follower.enter("forward", "forward_end", "activations")
    assert (follower.peak, follower.peak_phase) == (40, "load")
    assert follower.site_peaks == {"load": 40, "forward_end": 40}
    del small


def test_bitsandbytes_constants_are_found() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = bitsandbytes.nn.Linear4bit(256, 128, bias=False, compress_statistics=True, quant_type="nf4").to("cpu")
    follower = exact()
    follower.register_model(layer, "adapters")
    blocks = 256 * 128 // 64
    state = layer.weight.quant_state
    assert state is not None and state.nested
    assert follower.by_category["weights"] == 256 * 128 // 2
    # uint8 absmax, its own fp32 absmax per 256 blocks, two codes, an offset
    assert follower.by_category["quantization_state"] == blocks + 4 * -(-blocks // 256) + 4 * 256 + 4 * 16 + 4
