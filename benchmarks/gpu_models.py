"""Models with random weights for the benchmarks on a GPU: a public model's dimensions, our own tiny tokenizer, no network.

``python -m benchmarks.gpu_models NAME FOLDER`` saves one as a hub would have it.
"""

import json
import sys
from pathlib import Path

WORDS = 200
ROWS = 16


def save_model(name: str, folder: Path) -> Path:
    """The model ``name`` of the catalogue with random bfloat16 weights. Made on the GPU where there is one: a 7B in seconds."""
    from tunescope.memory.catalogue import catalogue_config

    fields = catalogue_config(name)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """A tokenizer that makes one token of each of our words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<end>", "<other>", *(f"w{n}" for n in range(WORDS))])}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<other>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>", pad_token="<end>").save_pretrained(folder)


def save_rows(path: Path, length: int) -> Path:
    """Rows of at least ``length`` tokens, so that each is cut to exactly as many."""
    text = " ".join(f"w{number % WORDS}" for number in range(length + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([json.dumps({"text": text})] * ROWS))
    return path


if __name__ == "__main__":
    save_model(sys.argv[1], Path(sys.argv[2]))
