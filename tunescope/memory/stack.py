"""Stack profiles: how the library versions of a recipe spend memory. Data, each figure read in those versions' sources.

The version of the loss path matters more than any other detail: a trace with another version's path is 8 % off.
"""

from dataclasses import dataclass
from typing import Literal

from tunescope.memory import loss_path
from tunescope.memory.lengths import Lengths
from tunescope.memory.loss_path import LossPath
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say
from tunescope.units import MIB

SWIFT_ROWS = Lengths(2541, 7970, 19548)
"""The data behind ms-swift's table of early 2024: a log-normal with its mean 3234 and deviation 2547, and its longest row."""
FMS_CONTEXT = 1698 * MIB
"""nvidia-smi minus torch's reserved bytes on an A100-80GB with torch 2.4, CUDA 12: fms-acceleration's first row, checked on
the other rows (ESTIMATION.md section 5)."""


@dataclass(frozen=True)
class Stack:
    """One set of library versions."""

    name: str
    title: str
    loss: LossPath
    loss_sharded: LossPath | None = None
    """The loss under DeepSpeed, which runs without autocast; None: the same."""
    autocast_adapters: bool = True
    """Whether adapters train under autocast (Trainer ``bf16=True``)."""
    upcast: Literal["nothing", "norms", "all"] = "nothing"
    """What the k-bit preparation casts to fp32: TRL 0.13 the norms; peft's prepare_model_for_kbit_training all that is left."""
    transformers: int = 5
    """Major version. 5: experts are one 3-D parameter, which bitsandbytes leaves in 16 bit. 4: some models have a loss and a
    cache of their own, which checkpointing does not turn off."""
    rows: Lengths | None = None
    """Lengths to go by where a job's own are not known, for a stack that pads batches to their longest row: those of the data
    behind its published figures. None: every batch is taken to be alike."""
    drops_long_rows: bool = False
    """Rows over ``max_length`` are dropped, not cut: what is left still varies up to it."""
    zero_bucket_elements: int = 500_000_000
    """DeepSpeed's reduce_bucket_size: its own default, or the recipe's."""
    zero3_auto: bool = False
    """ZeRO-3's buckets left to transformers: hidden size squared, and 0.9 of it to prefetch (``integrations/deepspeed.py``)."""
    saved_modules_follow_adapters: bool = False
    """Whether modules trained in full beside adapters are cast to ``adapter_dtype`` (our trainer) or keep the base's type (peft)."""
    foreach_lists: int = 1
    """Lists over all trained parameters that one foreach AdamW step makes: two up to torch 2.0 (``sqrt`` and ``denom``)."""
    gptq_keeps_weights: bool = False
    """auto-gptq's plain matmul saves each restored matrix for backward (``qlinear_cuda_old.py``); its Triton kernel restores it again."""
    reentrant: bool = True
    """Which kind of checkpointing: the other keeps what a layer's autograd functions hold as plain attributes."""
    context_bytes: int | None = None
    """What CUDA and its libraries took beside torch's reserved bytes with these versions, where it was measured."""
    source: str = ""


STACKS: dict[str, Stack] = {
    stack.name: stack
    for stack in (
        Stack("current", "torch 2.13, transformers 5.23, peft 0.21, TRL 1.16", loss_path.AUTOCAST_ON_LABELS, saved_modules_follow_adapters=True, reentrant=False,
              source="transformers 5.23 loss/loss_utils.py; worker/trainer/model.py cast_adapters"),
        Stack("transformers-4.48", "transformers 4.48, TRL 0.13, torch 2.4", loss_path.AUTOCAST_SHIFTED_FLOAT, transformers=4, context_bytes=FMS_CONTEXT,
              source="transformers 4.48.1 loss/loss_utils.py, modeling_gpt_bigcode.py:972"),
        Stack("transformers-4.48-no-autocast", "transformers 4.48 without autocast", loss_path.AUTOCAST_SHIFTED_FLOAT, autocast_adapters=False,
              transformers=4, context_bytes=FMS_CONTEXT, source="fms-acceleration bf16 rows"),
        Stack("transformers-4.48-norms-fp32", "transformers 4.48, TRL 0.13 peft_module_casting_to_bf16", loss_path.AUTOCAST_SHIFTED_FLOAT,
              upcast="norms", transformers=4, context_bytes=FMS_CONTEXT, source="trl 0.13.0 trainer/utils.py"),
        Stack("transformers-4.45", "transformers 4.45", loss_path.SHIFTED_REBOUND, transformers=4, context_bytes=FMS_CONTEXT,
              source="transformers 4.45.2 modeling_granite.py:1101"),
        Stack("qwen-2023", "Qwen's finetune.py, transformers 4.32, torch 2.0", loss_path.SHIFTED_THEN_FLOAT, loss_path.SHIFTED_SIXTEEN, transformers=4,
              zero_bucket_elements=200_000_000, zero3_auto=True, foreach_lists=2, gptq_keeps_weights=True,
              source="Qwen-7B modeling_qwen.py; Qwen finetune/ds_config_zero2.json, ds_config_zero3.json; torch 2.0 optim/adamw.py; auto-gptq qlinear_cuda_old.py"),
        Stack("swift-2024", "ms-swift 2.0.3, torch 2.1", loss_path.SHIFTED_THEN_FLOAT, loss_path.SHIFTED_SIXTEEN, transformers=4, rows=SWIFT_ROWS,
              drops_long_rows=True, gptq_keeps_weights=True,
              source="the same model code; ms-swift 2.0.3 truncation_strategy=delete; batches padded to their longest row"),
        Stack("kbit-prepared", "transformers 4.48 with peft's prepare_model_for_kbit_training", loss_path.AUTOCAST_SHIFTED_FLOAT, upcast="all",
              transformers=4, source="peft utils/other.py:158"),
    )
}  # fmt: skip
DEFAULT = STACKS["current"]


def stack_named(name: str) -> Stack:
    """Find a stack profile. Raises InvalidInput."""
    if name not in STACKS:
        choices = ", ".join(STACKS)
        error = FieldError("stack", "is unknown", f"use one of {choices}", "unknown_name", {"choices": choices})
        raise InvalidInput(say("no_such_stack", name=name), say("use_one_of", choices=choices), [error])
    return STACKS[name]
