"""What a job's layers compute in, and with: the settings of a step that follow from spec, architecture and stack."""

from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.persistent import (
    WIDTHS,
    Persistent,
    adapter_width,
    computing_adapter_width,
    computing_width,
)
from tunescope.memory.stack import Stack
from tunescope.memory.trained_modules import embedding_trains, norm_width
from tunescope.memory.workload import Workload, uneven
from tunescope.spec import JobSpec


def stream_width(spec: JobSpec, stack: Stack, architecture: Architecture, targets: frozenset[str]) -> int:
    """Bytes of one number of the residual stream: 4 when norms or embeddings were cast to fp32.

    ``targets``: paths of the adapted matrices. Also where bitsandbytes' layers or experts answer an fp32 norm in fp32, and the sum takes that type from the first layer on.
    """
    wide = (
        _layers_widen(spec, architecture, stack)
        or _dora_widens(spec, architecture, stack, targets)
        or _meets_other_sixteen(spec, stack)
    )
    return 4 if wide else embedded_width(spec, stack)


def embedded_width(spec: JobSpec, stack: Stack) -> int:
    """Bytes of one number that the embedding gives."""
    if (spec.precision.quantization != "none" and stack.upcast == "all") or _fp32_embedding(spec, stack):
        return 4
    return max(computing_width(spec), WIDTHS[spec.precision.dtype])


def _fp32_embedding(spec: JobSpec, stack: Stack) -> bool:
    """A trained copy of the embedding in fp32 begins the stream in fp32, and sums and norms keep that type."""
    lora = spec.adaptation.method == "lora"
    return lora and stack.saved_modules_follow_adapters and embedding_trains(spec) and adapter_width(spec) == 4


def _meets_other_sixteen(spec: JobSpec, stack: Stack) -> bool:
    """A trained copy of the embedding in bf16 meets layers in fp16, or the other way round: PyTorch adds the two in fp32."""
    lora = spec.adaptation.method == "lora" and stack.saved_modules_follow_adapters and embedding_trains(spec)
    return lora and {spec.precision.dtype, spec.precision.adapter_dtype} == {"bfloat16", "float16"}


def _dora_widens(spec: JobSpec, architecture: Architecture, stack: Stack, targets: frozenset[str]) -> bool:
    """An fp32 magnitude makes what bitsandbytes' layers give fp32, which peft casts back only without autocast (``tuners/lora/bnb.py``),
    and so all that is made of it, but for what attention reads."""
    adaptation, bits = spec.adaptation, spec.precision.quantization in ("nf4", "fp4", "int8")
    if not (adaptation.use_dora and bits and stack.autocast_adapters and adapter_width(spec) == 4):
        return False
    return any(
        linear.reads != "attention_input" and linear.path in targets
        for layer in architecture.layers
        for linear in layer.linears
    )


def _layers_widen(spec: JobSpec, architecture: Architecture, stack: Stack) -> bool:
    if architecture.traits.norms_after and not architecture.traits.fp32_norm_weight and norm_width(spec, stack) == 4:
        # What such norms give is added to the stream.
        return True
    # Stacked experts answer in the type that they are asked in, quantized or not.
    stacked = architecture.is_mixture and stack.transformers > 4
    if spec.precision.quantization not in ("nf4", "fp4", "int8") and not stacked:
        return False
    if architecture.traits.fp32_norm_weight:
        # Such norms give the type that they are asked in, whatever that of their weight is.
        return False
    wide = architecture.traits.layer_norm or norm_width(spec, stack) == 4
    return stack.upcast == "norms" or (wide and stack.autocast_adapters and stack.upcast == "nothing")


def layer_settings(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent
) -> LayerSettings:
    """What every layer of the step has in common."""
    full = spec.adaptation.method == "full"
    width = computing_width(spec)
    # DeepSpeed runs the 16-bit model as it is, without autocast.
    deepspeed = spec.parallelism.strategy.startswith("zero")
    autocast = (
        (stack.autocast_adapters if not full else width == 4) and spec.precision.dtype != "float32" and not deepspeed
    )
    return LayerSettings(
        tokens=work.tokens,
        sequence=work.sequence,
        batch=work.batch,
        stream=stream_width(spec, stack, architecture, persistent.targets),
        embedded=embedded_width(spec, stack),
        compute=WIDTHS[spec.precision.dtype],
        autocast=autocast,
        full=full,
        weight=width,
        # Without adapters nothing is cast to their type.
        adapter=WIDTHS[spec.precision.dtype] if full else computing_adapter_width(spec),
        dropout=spec.adaptation.lora_dropout > 0 and not full,
        attention=_kernel(spec, architecture, work),
        quantized=spec.precision.quantization,
        nested=spec.precision.double_quant,
        targets=persistent.targets,
        checkpointing=spec.memory_savers.gradient_checkpointing,
        accumulates=spec.batch.gradient_accumulation_steps > 1,
        uneven=uneven(spec, work),
        packed=spec.data.packing,
        dora=spec.adaptation.use_dora and not full,
        expert_runs=next(
            (layer.experts.count for layer in architecture.layers if layer.experts and stack.transformers == 4), 1
        ),
        keeps_weights=stack.gptq_keeps_weights and spec.precision.quantization.startswith("gptq"),
        norms=norm_width(spec, stack),
        reentrant=stack.reentrant and spec.memory_savers.gradient_checkpointing,
        half=spec.precision.dtype == "float16",
        reordered=architecture.stored is not None and architecture.stored.activation_order,
    )


def _kernel(spec: JobSpec, architecture: Architecture, work: Workload) -> str:
    """The attention that runs. Of SDPA's kernels flash takes 16-bit numbers only, and the memory-efficient one no grouped heads
    (``transformers/cuda/sdp_utils.cpp``): what is left for both is ``math``, plain products. With a mask no heads are grouped."""
    grouped = architecture.kv_heads != architecture.heads and not uneven(spec, work)
    if spec.memory_savers.attention == "sdpa" and spec.precision.dtype == "float32" and grouped:
        return "math"
    return spec.memory_savers.attention
