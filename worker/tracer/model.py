"""The model of a job on meta tensors: transformers' own class from config.json, peft's own adapters, prepared as the recipe's
library versions do. The same steps as ``worker/trainer/model.py``, without weights."""

import contextlib
import warnings
from typing import Any

import torch
from peft import get_peft_model
from torch.utils.checkpoint import checkpoint
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.quantizers.base import get_keys_to_not_convert

from tunescope.memory.config_reader import ConfigReader
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.memory.stored_weights import stored_weights
from tunescope.problems import FieldError, InvalidInput
from tunescope.spec import JobSpec
from worker.tracer import attention, qwen1, standins
from worker.trainer.model import DTYPES, cast_adapters, lora_config, needs_autocast

BOOKKEEPING = ("architectures", "auto_map", "quantization_config", "torch_dtype", "dtype", "transformers_version")
"""Keys of config.json that say nothing about the shape of the model."""


def refuse(field: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput(
        f"This job cannot be traced: {message}.",
        "the estimate by formula still holds",
        [FieldError(field, message, fix)],
    )


def check_traceable(spec: JobSpec) -> None:
    """Raise InvalidInput for what one GPU without sharding cannot run, or what has no stand-in here."""
    if spec.parallelism.strategy != "none":
        raise refuse("parallelism.strategy", "several GPUs are not traced, only estimated", "choose none, on one GPU")
    if spec.precision.quantization.startswith("gptq"):
        raise refuse("precision.quantization", "GPTQ kernels are not installed here", "choose nf4, int8 or none")


def model_config(config: dict[str, Any], attn_implementation: str) -> Any:
    """transformers' configuration object. Raises InvalidInput for an architecture that it does not ship."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        fix = "use a model that transformers ships; remote code is never run"
        raise refuse("config.model_type", f"unknown architecture {model_type!r}", fix)
    values = {key: value for key, value in config.items() if key not in BOOKKEEPING}
    try:
        made = CONFIG_MAPPING[model_type].from_dict(values)
    except Exception as error:
        raise refuse(
            "config", f"transformers does not accept this config.json ({error})", "use the published one"
        ) from error
    made._attn_implementation = attn_implementation  # pyright: ignore[reportPrivateUsage]
    made.use_cache = False
    return made


def build_model(spec: JobSpec, config: dict[str, Any], stack: Stack = DEFAULT) -> PreTrainedModel:
    """The model as it stands before the first step: quantized, with adapters, prepared, in training mode."""
    check_traceable(spec)
    masters = spec.adaptation.method == "full" and spec.precision.master_weights
    dtype = torch.float32 if masters else DTYPES[spec.precision.dtype]
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = _bare(spec, config, dtype)
        if spec.precision.quantization != "none":
            _quantize(model, spec, stack, config)
        if spec.adaptation.method == "lora":
            model = _with_adapters(model, spec, stack)
    model.train()
    return model


def base_of(model: torch.nn.Module) -> PreTrainedModel:
    """The causal language model inside peft's wrapper."""
    inner: Any = model
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def autocast_type(spec: JobSpec, stack: Stack) -> torch.dtype | None:
    """What matrix products are cast to, or None where training runs without autocast."""
    if spec.precision.dtype == "float32" or not needs_autocast(spec):
        return None
    if spec.adaptation.method == "lora" and not stack.autocast_adapters:
        return None
    return DTYPES[spec.precision.dtype]


def _bare(spec: JobSpec, config: dict[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    first_qwen = config.get("model_type") == "qwen"
    shape = qwen1.as_qwen2(config) if first_qwen else config
    made = model_config(shape, attention.IMPLEMENTATIONS[spec.memory_savers.attention])
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(made, dtype=dtype)
    except ValueError as error:
        raise _unsupported(str(error).split("\n")[0]) from error
    except Exception as error:
        raise refuse("config", f"transformers cannot build this model ({error})", "use the published one") from error
    if first_qwen:
        qwen1.reshape(model, dtype)
    return model


def _unsupported(message: str) -> InvalidInput:
    if "attention" in message:
        return refuse("memory_savers.attention", message, "choose eager, which every model has")
    return refuse("config.model_type", message, "use a decoder-only language model")


def _quantize(model: PreTrainedModel, spec: JobSpec, stack: Stack, config: dict[str, Any]) -> None:
    skipped = set(get_keys_to_not_convert(model))
    stored = stored_weights(ConfigReader(config))
    if stored is not None:
        skipped.update(name for name, _ in model.named_modules() if name and stored.leaves(name))
    standins.quantize(model, spec.precision, DTYPES[spec.precision.dtype], skipped)
    flag = "is_loaded_in_8bit" if spec.precision.quantization == "int8" else "is_loaded_in_4bit"
    setattr(model, flag, True)
    for name, parameter in model.named_parameters():
        norm = "norm" in name or "ln_" in name
        if parameter.is_floating_point() and (stack.upcast == "all" or (stack.upcast == "norms" and norm)):
            parameter.data = parameter.data.float()


def _with_adapters(model: PreTrainedModel, spec: JobSpec, stack: Stack) -> PreTrainedModel:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    try:
        config = lora_config(qwen1.in_qwen2_terms(spec.adaptation, model))
        assert config is not None, "only specs with adapters come here"
        adapted: Any = get_peft_model(model, config)
    except ValueError as error:
        message = str(error).split("\n")[0]
        if "lora_dropout" in message:
            raise refuse(
                "adaptation.lora_dropout", message, "set it to 0: adapters on experts take no dropout"
            ) from error
        raise refuse("adaptation.target_modules", message, "use all-linear, or names of this model") from error
    saved = {} if stack.saved_modules_follow_adapters else _saved_types(adapted)
    cast_adapters(adapted, spec.precision)
    for parameter, dtype in saved.items():
        parameter.data = parameter.data.to(dtype)
    return adapted


def _saved_types(model: torch.nn.Module) -> dict[torch.nn.Parameter, torch.dtype]:
    return {
        parameter: parameter.dtype
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "modules_to_save" in name
    }


def enable_checkpointing(model: PreTrainedModel, recompute: Any, reentrant: bool) -> None:
    """As ``gradient_checkpointing_enable`` does; ``recompute`` wraps each layer's forward so that modes hold in it."""

    def checkpointed(function: Any, *args: Any, **kwargs: Any) -> Any:
        return checkpoint(recompute(function), *args, use_reentrant=reentrant, preserve_rng_state=False, **kwargs)

    base: Any = base_of(model)
    base._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=checkpointed)
    if base is not model:
        with contextlib.suppress(NotImplementedError):
            base.enable_input_require_grads()
