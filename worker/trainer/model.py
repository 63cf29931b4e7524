"""The model of a job: found, loaded in the precision asked for, and made trainable."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunescope.sentences import say
from tunescope.spec import Adaptation, JobSpec, Precision
from tunescope.states import FailureReason
from tunescope.wire import ModelRef
from worker.hub.fetch import fetch
from worker.hub.progress import Tell
from worker.refusal import Refusal
from worker.trainer.demo import prepare_demo
from worker.trainer.device import give_back
from worker.trainer.modules import refuse_unmatched

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def locate(model: ModelRef, models_dir: Path, tell: Tell, stopped: Callable[[], bool]) -> Path:
    """The local directory of a model; fetches it from its hub if need be. Raises Refusal or DownloadStopped."""
    if model.kind == "demo":
        return prepare_demo(models_dir)
    if model.kind == "path":
        return Path(model.location)
    return fetch(model, tell, stopped)


def quantization_config(precision: Precision) -> BitsAndBytesConfig | None:
    if precision.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    if precision.quantization in ("nf4", "fp4"):
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=precision.quantization,
            bnb_4bit_use_double_quant=precision.double_quant,
            bnb_4bit_compute_dtype=DTYPES[precision.dtype],
        )
    return None


def load_model(folder: Path, spec: JobSpec) -> PreTrainedModel:
    """Load the weights as the spec's precision says. Raises Refusal: it has none, or not the modules of the spec."""
    if not any(folder.glob("*.safetensors")):
        raise Refusal(FailureReason.INVALID_MODEL, say("no_safetensors"), say("choose_safetensors"))
    precision = spec.precision
    # fp32 master weights: parameters are fp32 and autocast computes in the compute dtype.
    masters = spec.adaptation.method == "full" and precision.master_weights
    options: dict[str, Any] = {
        "dtype": torch.float32 if masters else DTYPES[precision.dtype],
        "attn_implementation": spec.memory_savers.attention,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
    config = quantization_config(precision)
    if config is not None:
        options["quantization_config"] = config
    if config is not None or torch.cuda.is_available():
        options["device_map"] = {"": 0} if torch.cuda.is_available() else {"": "cpu"}
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, **options)
    refuse_unmatched(model, spec.adaptation)
    model.config.use_cache = False
    if not torch.cuda.is_available():
        release_mapped_file(model)
    return model


def release_mapped_file(model: torch.nn.Module) -> None:
    """Let go of the weights' file and of what loading freed, so that resident memory counts each weight once.

    Loaded tensors are views of the mapped file: one left unquantized keeps all of it resident.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor).__name__ not in ("Params4bit", "Int8Params"):
            tensor.data = tensor.data.clone()
    give_back()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def lora_config(adaptation: Adaptation) -> LoraConfig | None:
    """peft's configuration of the adapter; None when every weight is trained."""
    if adaptation.method == "full":
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=adaptation.r,
        lora_alpha=adaptation.lora_alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=adaptation.lora_dropout,
        target_modules=adaptation.target_modules,
        modules_to_save=adaptation.modules_to_save or None,
        use_dora=adaptation.use_dora,
        use_rslora=adaptation.use_rslora,
    )


def needs_autocast(spec: JobSpec) -> bool:
    """Adapters, and full training on master weights, compute below the precision that they are kept in."""
    return spec.adaptation.method == "lora" or spec.precision.master_weights


def cast_adapters(model: torch.nn.Module, precision: Precision) -> None:
    """Keep what is trained beside frozen weights in ``adapter_dtype``: peft and TRL each choose their own otherwise."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(DTYPES[precision.adapter_dtype])
