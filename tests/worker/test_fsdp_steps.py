"""FSDP's estimate against real steps of one of several processes: divided by accelerate as a trainer's model is, with collectives that only
take their memory.

torch's "fake" process group hands out results without filling them in, so that one process shows what each of many holds.
"""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp._fully_shard import _fsdp_param
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForCausalLM, LlamaConfig

from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.devices import DEVICES
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.sharding import NCCL_BYTES
from tunescope.spec import JobSpec, parse_spec
from worker.tracer.follower import Follower
from worker.tracer.registration import identity

DEVICE = DEVICES["A100-80GB"]


def unmultiplied(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A matrix product's result, not filled in either: in bfloat16 most CPUs multiply number by number, and bytes are all that counts."""
    if func is torch.ops.aten.mm.default:
        return args[0].new_empty(args[0].shape[0], args[1].shape[1])
    return func(*args, **kwargs)


class ShardFollower(Follower):
    """Follows the local part of what is divided, and storages that FSDP shrinks and grows in place."""

    def __init__(self) -> None:
        super().__init__("cpu", round_to=1, call=unmultiplied)

    def _see(self, tensor: torch.Tensor, func: Any, args: tuple[Any, ...]) -> None:
        super()._see(tensor._local_tensor if isinstance(tensor, DTensor) else tensor, func, args)

    def _classify(self, func: Any, args: tuple[Any, ...]) -> Any:
        return self.category

    def resized(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        block = self._live.get(identity(storage))
        if block is not None and block.bytes != self._accounted(storage):
            self._resized(block, storage)


@dataclass(frozen=True)
class Run:
    gpus: int
    hidden: int
    mlp: int
    layers: int
    vocab: int
    tokens: int
    method: str = "full"
    accumulation: int = 1
    masters: bool = False
    tied: bool = False

    @property
    def mixed(self) -> bool:
        """Adapters and masters are kept in more than they compute in (worker/trainer/model.py ``needs_autocast``)."""
        return self.masters or self.method == "lora"

    @property
    def config(self) -> LlamaConfig:
        return LlamaConfig(
            hidden_size=self.hidden, intermediate_size=self.mlp, num_hidden_layers=self.layers, num_attention_heads=8,
            num_key_value_heads=4, vocab_size=self.vocab, tie_word_embeddings=self.tied, use_cache=False,
        )  # fmt: skip

    @property
    def spec(self) -> JobSpec:
        lora = {"method": "lora", "r": 16, "target_modules": "all-linear", "lora_dropout": 0.0}
        return parse_spec(
            {
                "model": {"id": "a/b"}, "adaptation": {"method": "full"} if self.method == "full" else lora,
                "precision": {"quantization": "none", "adapter_dtype": "bfloat16", "master_weights": self.masters},
                "data": {"dataset": "d", "max_length": self.tokens},
                "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": self.accumulation},
                "parallelism": {"gpus": self.gpus, "strategy": "fsdp"},
            }
        )  # fmt: skip

    def predicted(self) -> dict[str, int]:
        """Tensors in torch at each site, without what CUDA and its libraries take."""
        config = self.config.to_dict() | {"architectures": ["LlamaForCausalLM"]}
        found: Estimate = estimate(self.spec, architecture_from_config(config), DEVICE)
        beside = found.ledger["runtime_context"] + found.ledger["fragmentation"] + NCCL_BYTES
        beside += 2 * DEVICE.cublas_workspace_bytes
        return {site.name: site.total_bytes - beside for site in found.sites}


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShardFollower]:
    follower = ShardFollower()
    for name in ("alloc_storage", "free_storage"):
        original = getattr(_fsdp_param, name)

        def told(tensor: torch.Tensor, original: Any = original) -> None:
            original(tensor)
            follower.resized(tensor)

        monkeypatch.setattr(_fsdp_param, name, told)
    gc.collect()
    gc.disable()
    yield follower
    gc.enable()
    dist.destroy_process_group()


def divided(model: torch.nn.Module, mixed: bool) -> Any:
    """As accelerate divides it, told only of ``mixed_precision``."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", reshard_after_forward=True, cpu_ram_efficient_loading=False
    )  # fmt: skip
    if mixed:
        plugin.set_mixed_precision("bf16")
    accelerator: Any = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision="bf16" if mixed else "no", is_main_process=False
    )
    return fsdp2_prepare_model(accelerator, model)


def measured(run: Run, follower: ShardFollower) -> dict[str, int]:
    """Peaks of the second step: until the loss is there, until the gradients are, and in the optimizer."""
    dist.init_process_group("fake", rank=0, world_size=run.gpus, store=FakeStore())
    model: Any = AutoModelForCausalLM.from_config(run.config, dtype=torch.float32 if run.masters else torch.bfloat16)
    if run.method == "lora":
        model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear"))
        model.enable_input_require_grads()
        model.to(torch.bfloat16)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    model = divided(model, run.mixed)
    for parameter in model.parameters():
        follower.register(parameter._local_tensor, "weights")
    optimizer = torch.optim.AdamW([it for it in model.parameters() if it.requires_grad], foreach=True)
    tokens = torch.randint(0, run.vocab, (1, run.tokens))
    for _ in range(2):
        follower.reset_peaks()
        with follower:
            for number in range(run.accumulation):
                model.set_requires_gradient_sync(number == run.accumulation - 1)
                follower.enter("forward", "forward", "activations")
                with torch.autocast("cpu", torch.bfloat16, enabled=run.mixed):
                    loss = model(input_ids=tokens, labels=tokens).loss
                follower.enter("backward", "backward", "activations")
                loss.backward()
                del loss
            follower.enter("optimizer", "optimizer_step", "workspace")
            optimizer.step()
            optimizer.zero_grad()
    return follower.site_peaks


RUNS = [
    Run(2, 256, 768, 4, 1000, 64),
    Run(8, 256, 768, 8, 4000, 64),
    Run(4, 256, 1024, 6, 500, 64, accumulation=3),
    Run(8, 256, 1024, 6, 4000, 128, accumulation=2),
    Run(4, 256, 1024, 6, 4000, 64, tied=True),
    Run(2, 256, 1024, 6, 500, 64, method="lora"),
    Run(8, 256, 1024, 6, 4000, 64, method="lora", accumulation=2),
    Run(4, 256, 1024, 6, 1000, 64, masters=True),
    Run(4, 256, 1024, 6, 1000, 64, masters=True, accumulation=2),
]


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_each_part_of_a_step_is_as_estimated(run: Run, shards: ShardFollower) -> None:
    found, told = measured(run, shards), run.predicted()
    for part in ("forward", "backward", "optimizer_step"):
        predicted = max(bytes for site, bytes in told.items() if part in site)
        assert predicted == pytest.approx(found[part], rel=0.04), part
